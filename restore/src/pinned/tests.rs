use icecore_archive::FullPath;

use super::*;

fn layers() -> Vec<PlannedLayer> {
    let full: FullPath = "2022/02/09-155340.13".parse().unwrap();
    let incremental = |path: &str| LayerPath::incremental_at(full.clone(), path.parse().unwrap());
    [
        LayerPath::full_at(full.clone()),
        incremental("20220210/155530.50"),
        incremental("20220211/155530.50"),
    ]
    .map(|path| PlannedLayer {
        path,
        files: Vec::new(),
    })
    .to_vec()
}

#[test]
fn what_is_in_must_be_what_the_plan_begins_with() {
    let layers = layers();
    let tag = |at: usize| layers[at].path.to_string();
    let copied = |at: usize| copied_tag(&layers[at].path);
    for good in [
        vec![],
        vec![copied(0)],
        vec![tag(0)],
        vec![copied(0), tag(0), tag(1)],
        vec![tag(0), copied(1), tag(1), tag(2)],
    ] {
        assert!(begins_with(&layers, &good), "{good:?}");
    }
    for bad in [
        vec![tag(1)],
        vec![tag(0), tag(2)],
        vec![copied(0), tag(1)],
        vec![copied(0), copied(1)],
        vec![tag(0), tag(0)],
        vec![tag(0), tag(1), tag(2), tag(2)],
        vec!["2022/02/09-155340.13/20220209/000000.00".to_owned()],
    ] {
        assert!(!begins_with(&layers, &bad), "{bad:?}");
    }
}

#[test]
fn a_note_is_read_as_it_was_written_and_a_torn_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    assert_eq!(read(&path).unwrap(), None);
    let note = Note {
        layers: layers().into_iter().map(|layer| layer.path).collect(),
    };
    write(folder.path(), &note).unwrap();
    assert_eq!(read(&path).unwrap(), Some(note));
    // As docs/format/folder.md has it.
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format/folder.md");
    let page = fs::read_to_string(page).unwrap();
    let json = fs::read_to_string(&path).unwrap();
    assert!(page.contains(&json), "{json}");
    fs::write(&path, &json[..json.len() / 2]).unwrap();
    assert_eq!(read(&path).unwrap(), None);
}
