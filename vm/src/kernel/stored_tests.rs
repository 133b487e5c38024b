//! What the store promises.

use super::*;
use crate::kernel::tests::{eventually, pruned};

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::cache::WORK;
use crate::host::file_lock;

static NEVER: AtomicBool = AtomicBool::new(false);

fn fill(store: &Store, key: &str) -> Stored {
    let work = store.begin(key, &NEVER, || {}).unwrap();
    fs::write(work.downloads().unwrap().join("x.deb"), "deb").unwrap();
    let mut filling = work.start().unwrap();
    filling.image(&b"image"[..]).unwrap();
    filling.config(&b"config"[..]).unwrap();
    filling.modules(&[Module { name: "virtio".into(), content: b"elf".to_vec() }]).unwrap();
    filling.finish("6.1.9", Some("6.1.9-1")).unwrap()
}

#[test]
fn what_was_put_in_comes_out_and_downloads_are_dropped() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().join("kernels"));
    assert!(store.get("6.1.9-aa").is_none());
    fill(&store, "6.1.9-aa");
    let stored = store.get("6.1.9-aa").unwrap();
    assert_eq!(fs::read(stored.image()).unwrap(), b"image");
    assert_eq!(fs::read(stored.config().unwrap()).unwrap(), b"config");
    assert!(stored.modules()[0].ends_with("modules/00-virtio.ko") && stored.modules()[0].is_file());
    assert_eq!(stored.record.bytes, 5 + 6 + 3, "of image, config and module");
    assert_eq!(store.names(), [".lock-6.1.9-aa", "6.1.9-aa"]);
}

#[test]
fn what_is_half_made_is_not_believed_and_replaced() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    {
        let work = store.begin("6.1.9-aa", &NEVER, || {}).unwrap();
        work.start().unwrap().image(&b"half"[..]).unwrap();
    }
    assert!(store.get("6.1.9-aa").is_none() && store.all().is_empty());
    fill(&store, "6.1.9-aa");
    // A removal that was cut short, a person's, an older hooklab's.
    let record = root.path().join("6.1.9-aa").join(<Record as cache::Record>::FILE);
    for damage in ["", "{}", &fs::read_to_string(&record).unwrap().replace("\"schema\": 1", "\"schema\": 0")]
    {
        fs::write(&record, damage).unwrap();
        assert!(store.get("6.1.9-aa").is_none(), "{damage}");
    }
    assert_eq!(fs::read(fill(&store, "6.1.9-aa").image()).unwrap(), b"image");
    fs::remove_file(store.get("6.1.9-aa").unwrap().image()).unwrap();
    assert!(store.get("6.1.9-aa").is_none());
}

#[test]
fn one_key_is_filled_by_one_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    let work = store.begin("a", &NEVER, || panic!("nobody else is here")).unwrap();
    let cancel = AtomicBool::new(false);
    let second = store.begin("a", &cancel, || cancel.store(true, Ordering::Relaxed));
    assert!(matches!(second, Err(file_lock::Error::Cancelled)));
    store.begin("b", &NEVER, || panic!("another key is free")).unwrap();
    drop(work);
    assert!(
        eventually(|| {
            let busy = AtomicBool::new(false);
            store.begin("a", &busy, || busy.store(true, Ordering::Relaxed)).is_ok()
        }),
        "it is free again"
    );
}

#[test]
fn prune_keeps_what_is_named_and_what_is_in_the_making() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    for key in ["keep", "drop"] {
        fill(&store, key);
    }
    let busy = store.begin("busy", &NEVER, || {}).unwrap();
    busy.downloads().unwrap();
    store.begin("left", &NEVER, || {}).unwrap().downloads().unwrap();
    let mut removed = pruned(2, || store.prune(&["keep".to_owned()]).unwrap());
    removed.sort();
    let names: Vec<_> = removed.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, [".work-left", "drop"]);
    assert!(removed[1].1 > 14);
    assert!(store.get("keep").is_some() && store.get("drop").is_none());
    assert!(root.path().join(".work-busy").exists());
}

#[test]
fn only_old_leftovers_are_swept() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path().into());
    for (key, age) in [("old", STALE * 2), ("new", Duration::ZERO)] {
        store.begin(key, &NEVER, || {}).unwrap().downloads().unwrap();
        let directory = File::open(root.path().join(format!("{WORK}{key}"))).unwrap();
        directory.set_modified(SystemTime::now() - age).unwrap();
    }
    let swept = eventually(|| {
        store.sweep(STALE);
        !root.path().join(".work-old").exists()
    });
    assert!(swept && root.path().join(".work-new").exists());
}
