use super::*;

fn numbers(single: &[u64]) -> Numbers {
    single.iter().map(|number| *number..*number + 1).collect()
}

#[test]
fn neighbours_become_one_range() {
    let some = numbers(&[3, 4, 5, 9, 11, 12]);
    assert_eq!(some.0.to_vec(), [3..6, 9..10, 11..13]);
    assert_eq!(some.each().collect::<Vec<_>>(), [3, 4, 5, 9, 11, 12]);
    assert_eq!(some.first(), Some(3));
}

#[test]
fn a_part_of_the_shard_has_its_own_numbers() {
    let some = numbers(&[3, 4, 5, 9, 11, 12]);
    let within = |rows: Range<u64>| some.within(&rows).collect::<Vec<_>>();
    assert_eq!(within(0..100), [3..6, 9..10, 11..13]);
    assert_eq!(within(4..12), [4..6, 9..10, 11..12]);
    assert_eq!(within(6..9), []);
    assert_eq!(within(13..20), []);
    assert_eq!(within(0..3), []);
    assert_eq!(within(4..4), []);
}

#[test]
fn no_rows_have_no_numbers() {
    assert_eq!(numbers(&[]).first(), None);
    assert_eq!(std::iter::once(7..7).collect::<Numbers>(), numbers(&[]));
}
