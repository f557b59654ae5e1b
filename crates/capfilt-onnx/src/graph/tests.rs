use prost::Message as _;

use super::*;

fn decoded(graph: Graph) -> ModelProto {
    ModelProto::decode(graph.encode().as_slice()).unwrap()
}

#[test]
fn a_graph_round_trips_through_its_encoding() {
    let mut graph = Graph::new("sum", "weights.bin");
    let x = graph.input("x", Element::F32, &[Axis::Named("B"), Axis::Fixed(3)]);
    let y = graph.add(&x, &x);
    graph.output("y", &y, &[Axis::Named("B"), Axis::Fixed(3)]);
    let model = decoded(graph);
    assert_eq!(model.ir_version, IR_VERSION);
    assert_eq!(model.opset_import.len(), 1);
    let graph = model.graph.unwrap();
    let ops: Vec<_> = graph
        .node
        .iter()
        .map(|node| node.op_type.as_str())
        .collect();
    assert_eq!(ops, ["Add", "Identity"]);
    assert_eq!(graph.node[1].output, ["y"]);
    let shape = graph.input[0]
        .value_type
        .clone()
        .unwrap()
        .tensor_type
        .unwrap()
        .shape
        .unwrap();
    assert_eq!(shape.dim[0].value, Some(Dimension::Name("B".to_owned())));
    assert_eq!(shape.dim[1].value, Some(Dimension::Size(3)));
}

#[test]
fn a_stored_tensor_is_declared_once_with_its_place_in_the_data_file() {
    let stored = Stored {
        name: "w".to_owned(),
        element: Element::F16,
        shape: vec![2, 3],
        offset: 4096,
        length: 12,
    };
    let mut graph = Graph::new("twice", "weights.bin");
    let (first, second) = (graph.stored(&stored), graph.stored(&stored));
    assert_eq!(first, second);
    let tensors = decoded(graph).graph.unwrap().initializer;
    assert_eq!(tensors.len(), 1);
    let entries: Vec<_> = tensors[0]
        .external_data
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    let expected = [
        ("location", "weights.bin"),
        ("offset", "4096"),
        ("length", "12"),
    ];
    assert_eq!(entries, expected);
    assert_eq!(tensors[0].dims, [2, 3]);
    assert_eq!(tensors[0].data_location, Some(LOCATION_EXTERNAL));
}

#[test]
fn an_attribute_of_zero_is_written() {
    let mut graph = Graph::new("pick", "weights.bin");
    let x = graph.input("x", Element::F32, &[Axis::Named("B")]);
    graph.pick(&x, 5, 0);
    let node = decoded(graph).graph.unwrap().node.remove(0);
    assert_eq!(node.attribute[0].i, Some(0));
}

#[test]
fn operators_of_the_runtime_bring_their_operator_set_along() {
    let mut graph = Graph::new("bytes", "weights.bin");
    let x = graph.input("x", Element::U8, &[Axis::Named("B"), Axis::Fixed(2)]);
    graph.integer_matmul(&x, &x, &x, 128);
    let domains: Vec<_> = decoded(graph)
        .opset_import
        .into_iter()
        .map(|set| set.domain)
        .collect();
    assert_eq!(domains, ["", CONTRIB]);
}
