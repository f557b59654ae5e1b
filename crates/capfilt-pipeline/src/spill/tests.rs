use super::*;

#[test]
fn pictures_come_back_whole_and_the_disk_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut spill = Spill::new(&folder.path().join("scored"));
    assert_eq!(spill.take(1).unwrap(), None);
    for round in 0..3_u8 {
        for row in 0..50_u64 {
            spill
                .put(row, &vec![round; usize::try_from(row * 100).unwrap()])
                .unwrap();
        }
        for row in (0..50).rev() {
            let picture = spill.take(row).unwrap().unwrap();
            assert_eq!(picture, vec![round; usize::try_from(row * 100).unwrap()]);
            assert_eq!(spill.take(row).unwrap(), None);
        }
        let file = spill.file.as_ref().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
    // The file has no name to be left behind under.
    assert_eq!(
        fs_err::read_dir(folder.path().join("scored"))
            .unwrap()
            .count(),
        0
    );
}
