use super::*;

/// Numbers that are the same every time.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 7_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    })
}

#[test]
fn ranges_of_an_object_are_those_of_its_bytes() {
    let size = 9 << 20;
    let content: Vec<u8> = numbers()
        .take(size)
        .map(|number| number.to_be_bytes()[7])
        .collect();
    let object = Location::Object(Object::in_memory()).join("a");
    object.replace(&content).unwrap();
    assert_eq!(
        Open::at(&object)
            .unwrap()
            .get_bytes(size as u64 - 9, 9)
            .unwrap(),
        content[size - 9..]
    );
    let open = Open::at(&object).unwrap();
    assert_eq!(open.len(), size as u64);
    let mut random = numbers().map(|number| usize::try_from(number).unwrap());
    let mut at = 0;
    for round in 0..400 {
        // Forward in steps, and now and then somewhere else, at most three MiB at once.
        at = if round % 5 == 0 {
            random.next().unwrap() % size
        } else {
            at
        };
        let most = if round % 50 == 0 { 3 << 20 } else { 90 << 10 };
        let length = (random.next().unwrap() % most).min(size - at);
        let bytes = open.get_bytes(at as u64, length).unwrap();
        assert!(bytes == content[at..at + length], "{length} bytes at {at}");
        at += length;
    }
    let mut all = Vec::new();
    open.get_read(5).unwrap().read_to_end(&mut all).unwrap();
    assert!(all == content[5..]);
    assert!(open.get_bytes(size as u64 - 3, 4).is_err());
    let Content::Object(ahead) = &open.content else {
        panic!("it is an object")
    };
    let windows = ahead.windows.lock().unwrap();
    let held: usize = windows.iter().map(|window| window.bytes.len()).sum();
    assert!(windows.len() <= WINDOWS && held as u64 <= WINDOWS as u64 * MOST_AHEAD);
}

#[test]
fn an_object_that_was_replaced_is_not_read_on() {
    let object = Location::Object(Object::in_memory()).join("a");
    object.replace(&vec![1; 1 << 20]).unwrap();
    let open = Open::at(&object).unwrap();
    open.get_bytes(0, 10).unwrap();
    object.replace(&vec![2; 1 << 20]).unwrap();
    let error = open.get_bytes(1 << 19, 10).unwrap_err().to_string();
    assert!(error.contains("it was changed meanwhile"), "{error}");
}
