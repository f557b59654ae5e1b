//! Building an ONNX graph: typed values, one method per operator.

#[cfg(test)]
mod tests;

use prost::Message as _;

use crate::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};
use crate::weights::Stored;

/// Operator set whose `Gelu` is exact and whose `LayerNormalization` is one node.
const OPSET: i64 = 21;
/// File format that goes with [`OPSET`].
const IR_VERSION: i64 = 10;
/// Operators of ONNX Runtime itself.
pub(crate) const CONTRIB: &str = "com.microsoft";

const ATTRIBUTE_FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;
const ATTRIBUTE_INTS: i32 = 7;
const LOCATION_EXTERNAL: i32 = 1;

/// Element type of a tensor, with ONNX's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// 32-bit float.
    F32 = 1,
    /// 8-bit unsigned integer.
    U8 = 2,
    /// 8-bit signed integer.
    I8 = 3,
    /// 64-bit signed integer.
    I64 = 7,
    /// Truth value.
    Bool = 9,
    /// 16-bit float.
    F16 = 10,
}

/// An edge of the graph: the output of a node, an input or a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    name: String,
    element: Element,
}

/// Size of an axis of an input or output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Axis {
    /// Known now.
    Fixed(usize),
    /// Known when the graph runs.
    Named(&'static str),
}

/// A named constant of a node.
pub(crate) enum Attribute {
    /// An integer.
    Int(&'static str, i64),
    /// Several integers.
    Ints(&'static str, Vec<i64>),
    /// A float.
    Float(&'static str, f32),
}

/// A graph being built. Nodes are added in the order in which they run.
pub(crate) struct Graph {
    graph: GraphProto,
    data_file: String,
}

impl Graph {
    /// Empty graph whose weights are in the file `data_file` beside it.
    pub(crate) fn new(name: &str, data_file: &str) -> Self {
        Self {
            graph: GraphProto {
                name: name.to_owned(),
                ..GraphProto::default()
            },
            data_file: data_file.to_owned(),
        }
    }

    /// Declares an input.
    pub(crate) fn input(&mut self, name: &str, element: Element, shape: &[Axis]) -> Value {
        self.graph.input.push(value_info(name, element, shape));
        Value {
            name: name.to_owned(),
            element,
        }
    }

    /// Declares `value` as the output `name` of the graph.
    pub(crate) fn output(&mut self, name: &str, value: &Value, shape: &[Axis]) {
        self.emit("Identity", "", &[value], vec![], vec![name.to_owned()]);
        self.graph
            .output
            .push(value_info(name, value.element, shape));
    }

    /// The stored tensor `stored` as a constant; declared on first use.
    pub(crate) fn stored(&mut self, stored: &Stored) -> Value {
        if !self
            .graph
            .initializer
            .iter()
            .any(|known| known.name == stored.name)
        {
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: key.to_owned(),
                value,
            };
            self.graph.initializer.push(TensorProto {
                dims: signed(&stored.shape),
                data_type: stored.element as i32,
                name: stored.name.clone(),
                raw_data: None,
                external_data: vec![
                    entry("location", self.data_file.clone()),
                    entry("offset", stored.offset.to_string()),
                    entry("length", stored.length.to_string()),
                ],
                data_location: Some(LOCATION_EXTERNAL),
            });
        }
        Value {
            name: stored.name.clone(),
            element: stored.element,
        }
    }

    /// A list of integers as a constant [n].
    pub(crate) fn ints(&mut self, values: &[i64]) -> Value {
        let name = format!("ints:{values:?}");
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(name, Element::I64, vec![axis(values.len())], bytes)
    }

    /// One integer as a constant scalar.
    pub(crate) fn int(&mut self, value: i64) -> Value {
        self.constant(
            format!("int:{value}"),
            Element::I64,
            vec![],
            value.to_le_bytes().to_vec(),
        )
    }

    /// One float as a constant scalar.
    pub(crate) fn float(&mut self, value: f32) -> Value {
        let name = format!("float:{value:e}");
        self.constant(name, Element::F32, vec![], value.to_le_bytes().to_vec())
    }

    /// One unsigned byte as a constant scalar.
    pub(crate) fn byte(&mut self, value: u8) -> Value {
        self.constant(format!("byte:{value}"), Element::U8, vec![], vec![value])
    }

    /// One signed byte as a constant scalar.
    pub(crate) fn signed_byte(&mut self, value: i8) -> Value {
        let bytes = value.to_le_bytes().to_vec();
        self.constant(format!("signed_byte:{value}"), Element::I8, vec![], bytes)
    }

    fn constant(
        &mut self,
        name: String,
        element: Element,
        dims: Vec<i64>,
        bytes: Vec<u8>,
    ) -> Value {
        if !self
            .graph
            .initializer
            .iter()
            .any(|known| known.name == name)
        {
            self.graph.initializer.push(TensorProto {
                dims,
                data_type: element as i32,
                name: name.clone(),
                raw_data: Some(bytes),
                external_data: vec![],
                data_location: None,
            });
        }
        Value { name, element }
    }

    /// Adds a node of any operator with one output of type `element`.
    pub(crate) fn node(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
        element: Element,
    ) -> Value {
        let name = format!("{}.{}", op.to_lowercase(), self.graph.node.len());
        self.emit(op, domain, inputs, attributes, vec![name.clone()]);
        Value { name, element }
    }

    fn emit(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&Value],
        attributes: Vec<Attribute>,
        output: Vec<String>,
    ) {
        let node = NodeProto {
            input: inputs.iter().map(|value| value.name.clone()).collect(),
            name: format!("{}#{}", op.to_lowercase(), self.graph.node.len()),
            output,
            op_type: op.to_owned(),
            attribute: attributes.into_iter().map(attribute).collect(),
            domain: domain.to_owned(),
        };
        self.graph.node.push(node);
    }

    fn same(&mut self, op: &str, inputs: &[&Value], attributes: Vec<Attribute>) -> Value {
        let element = inputs.first().map_or(Element::F32, |value| value.element);
        self.node(op, "", inputs, attributes, element)
    }

    /// a + b, broadcast.
    pub(crate) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.same("Add", &[a, b], vec![])
    }

    /// a - b, broadcast.
    pub(crate) fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.same("Sub", &[a, b], vec![])
    }

    /// a * b element by element, broadcast.
    pub(crate) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.same("Mul", &[a, b], vec![])
    }

    /// a / b, broadcast.
    pub(crate) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.same("Div", &[a, b], vec![])
    }

    /// The larger of a and b, broadcast.
    pub(crate) fn max(&mut self, a: &Value, b: &Value) -> Value {
        self.same("Max", &[a, b], vec![])
    }

    /// Matrix product over the last two axes.
    pub(crate) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.same("MatMul", &[a, b], vec![])
    }

    /// a · bᵀ + bias for a [m, k], b [n, k], bias [n].
    pub(crate) fn gemm_transposed(&mut self, a: &Value, b: &Value, bias: Option<&Value>) -> Value {
        let inputs: Vec<_> = [a, b].into_iter().chain(bias).collect();
        self.same("Gemm", &inputs, vec![Attribute::Int("transB", 1)])
    }

    /// Gaussian error linear unit, x · Φ(x), with the exact error function.
    pub(crate) fn gelu(&mut self, x: &Value) -> Value {
        self.same("Gelu", &[x], vec![])
    }

    /// Logistic function, 1 / (1 + exp(-x)).
    pub(crate) fn sigmoid(&mut self, x: &Value) -> Value {
        self.same("Sigmoid", &[x], vec![])
    }

    /// Softmax over the last axis.
    pub(crate) fn softmax(&mut self, x: &Value) -> Value {
        self.same("Softmax", &[x], vec![Attribute::Int("axis", -1)])
    }

    /// Layer normalisation over the last axis with scale and shift.
    pub(crate) fn layer_norm(
        &mut self,
        x: &Value,
        scale: &Value,
        shift: &Value,
        eps: f32,
    ) -> Value {
        let attributes = vec![Attribute::Int("axis", -1), Attribute::Float("epsilon", eps)];
        self.same("LayerNormalization", &[x, scale, shift], attributes)
    }

    /// Convolution whose stride is its kernel size.
    pub(crate) fn patches(
        &mut self,
        x: &Value,
        kernel: &Value,
        bias: Option<&Value>,
        size: i64,
    ) -> Value {
        let attributes = vec![
            Attribute::Ints("kernel_shape", vec![size, size]),
            Attribute::Ints("strides", vec![size, size]),
        ];
        let inputs: Vec<_> = [x, kernel].into_iter().chain(bias).collect();
        self.same("Conv", &inputs, attributes)
    }

    /// The same elements in another shape; 0 keeps an axis, -1 infers one.
    pub(crate) fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.reshape_to(x, &shape)
    }

    /// The same elements in the shape that the integer list `shape` holds.
    pub(crate) fn reshape_to(&mut self, x: &Value, shape: &Value) -> Value {
        self.same("Reshape", &[x, shape], vec![])
    }

    /// Reorders axes.
    pub(crate) fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.same(
            "Transpose",
            &[x],
            vec![Attribute::Ints("perm", order.to_vec())],
        )
    }

    /// Rows of `x` along `axis`, named by the integers `indices`.
    pub(crate) fn gather(&mut self, x: &Value, indices: &Value, axis: i64) -> Value {
        self.same("Gather", &[x, indices], vec![Attribute::Int("axis", axis)])
    }

    /// One row of `x` along `axis`; the axis disappears.
    pub(crate) fn pick(&mut self, x: &Value, index: i64, axis: i64) -> Value {
        let index = self.int(index);
        self.gather(x, &index, axis)
    }

    /// Rows `start` (inclusive) to `end` (exclusive) along `axis`, all integer lists [1].
    pub(crate) fn slice(&mut self, x: &Value, start: &Value, end: &Value, axis: i64) -> Value {
        let axis = self.ints(&[axis]);
        self.same("Slice", &[x, start, end, &axis], vec![])
    }

    /// Joins along `axis`.
    pub(crate) fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.same("Concat", parts, vec![Attribute::Int("axis", axis)])
    }

    /// Zeros before (`before`) and after (`after`) each axis.
    pub(crate) fn pad(&mut self, x: &Value, before: &[i64], after: &[i64]) -> Value {
        let amounts = self.ints(&[before, after].concat());
        self.pad_by(x, &amounts)
    }

    /// The same with amounts as an integer list, first those before every axis.
    pub(crate) fn pad_by(&mut self, x: &Value, amounts: &Value) -> Value {
        self.same("Pad", &[x, amounts], vec![])
    }

    /// Size of one axis of `x`, as an integer list [1].
    pub(crate) fn size(&mut self, x: &Value, axis: i64) -> Value {
        let attributes = vec![
            Attribute::Int("start", axis),
            Attribute::Int("end", axis + 1),
        ];
        self.node("Shape", "", &[x], attributes, Element::I64)
    }

    /// Sizes of all axes of `x`.
    pub(crate) fn shape(&mut self, x: &Value) -> Value {
        self.node("Shape", "", &[x], vec![], Element::I64)
    }

    /// Integers `start` to `end` (exclusive), both scalars.
    pub(crate) fn range(&mut self, start: &Value, end: &Value) -> Value {
        let step = self.int(1);
        self.same("Range", &[start, end, &step], vec![])
    }

    /// Converts the element type.
    pub(crate) fn cast(&mut self, x: &Value, element: Element) -> Value {
        if x.element == element {
            return x.clone();
        }
        let attributes = vec![Attribute::Int("to", i64::from(element as i32))];
        self.node("Cast", "", &[x], attributes, element)
    }

    /// Whether a > b, broadcast.
    pub(crate) fn greater(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Greater", "", &[a, b], vec![], Element::Bool)
    }

    /// `yes` where `condition` holds, else `no`.
    pub(crate) fn choose(&mut self, condition: &Value, yes: &Value, no: &Value) -> Value {
        self.node("Where", "", &[condition, yes, no], vec![], yes.element)
    }

    /// Euclidean length of the last axis, kept as size 1.
    pub(crate) fn length(&mut self, x: &Value) -> Value {
        let axes = self.ints(&[-1]);
        self.same("ReduceL2", &[x, &axes], vec![Attribute::Int("keepdims", 1)])
    }

    /// Absolute value.
    pub(crate) fn abs(&mut self, x: &Value) -> Value {
        self.same("Abs", &[x], vec![])
    }

    /// Sum over the last axis, which disappears.
    pub(crate) fn sum(&mut self, x: &Value) -> Value {
        let axes = self.ints(&[-1]);
        self.same(
            "ReduceSum",
            &[x, &axes],
            vec![Attribute::Int("keepdims", 0)],
        )
    }

    /// Largest element of the last axis, kept as size 1.
    pub(crate) fn largest(&mut self, x: &Value) -> Value {
        let axes = self.ints(&[-1]);
        self.same(
            "ReduceMax",
            &[x, &axes],
            vec![Attribute::Int("keepdims", 1)],
        )
    }

    /// (a - zero) · b · scale for bytes a [.., k], b [k, n] and one scale per column [n]; the sums
    /// are exact 32-bit integers.
    pub(crate) fn integer_matmul(
        &mut self,
        a: &Value,
        b: &Value,
        scale: &Value,
        zero: u8,
    ) -> Value {
        let one = self.float(1.0);
        let zero = self.byte(zero);
        let none = self.signed_byte(0);
        let inputs = [a, b, &one, scale, &zero, &none];
        self.node(
            "MatMulIntegerToFloat",
            CONTRIB,
            &inputs,
            vec![],
            Element::F32,
        )
    }

    /// The model file: the graph with its operator sets.
    pub(crate) fn encode(self) -> Vec<u8> {
        let contrib = self.graph.node.iter().any(|node| node.domain == CONTRIB);
        let mut opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }];
        if contrib {
            opset_import.push(OperatorSetIdProto {
                domain: CONTRIB.to_owned(),
                version: 1,
            });
        }
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "capfilt".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
        };
        model.encode_to_vec()
    }
}

/// Axis sizes as ONNX writes them.
fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| axis(size)).collect()
}

/// The size of an axis as ONNX writes it.
pub(crate) fn axis(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn attribute(attribute: Attribute) -> AttributeProto {
    let (name, kind, f, i, ints) = match attribute {
        Attribute::Int(name, value) => (name, ATTRIBUTE_INT, None, Some(value), vec![]),
        Attribute::Ints(name, values) => (name, ATTRIBUTE_INTS, None, None, values),
        Attribute::Float(name, value) => (name, ATTRIBUTE_FLOAT, Some(value), None, vec![]),
    };
    AttributeProto {
        name: name.to_owned(),
        f,
        i,
        ints,
        kind,
    }
}

fn value_info(name: &str, element: Element, shape: &[Axis]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|known| DimensionProto {
            value: Some(match known {
                Axis::Fixed(size) => Dimension::Size(axis(*size)),
                Axis::Named(name) => Dimension::Name((*name).to_owned()),
            }),
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        value_type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: element as i32,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}
