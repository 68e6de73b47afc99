//! The directory source over real files: what it tells, what it keeps, what it reports.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use controller::event::Event;
use controller::object::{Object, ObjectKey};
use controller::watch::{Severity, SourceError, SourceEvent, directory};
use tokio::sync::mpsc;

/// Long enough for a busy machine; nothing waits for it to pass unless a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn pod(name: &str, label: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: '{label}'}}}}\nspec: {{nodeName: node-a}}\n"
    )
}

const INVALID: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {}
  ingress:
  - ports:
    - port: 99999
";

/// A source directory, and what the source has told of it.
struct Watched {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    events: mpsc::Receiver<Event>,
    objects: BTreeMap<ObjectKey, Object>,
    version: u64,
    in_sync: Option<bool>,
    errors: Vec<SourceError>,
    /// How often each object was told or deleted.
    told: BTreeMap<ObjectKey, usize>,
    deleted: BTreeMap<ObjectKey, usize>,
}

impl Watched {
    fn over(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cluster")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("cluster").join(name), text).unwrap();
        }
        Self::start(folder)
    }

    fn start(folder: tempfile::TempDir) -> Self {
        Self::start_with_status(folder, "status")
    }

    fn start_with_status(folder: tempfile::TempDir, status: &str) -> Self {
        let (sender, events) = mpsc::channel(32);
        let status = folder.path().join(status);
        fs::create_dir_all(&status).unwrap();
        // The only controller there is, and the same again after a restart.
        let lease = controller::lease::Lease::new(&status, "test".to_owned(), std::time::Duration::from_secs(3600));
        lease.turn();
        directory::start(&folder.path().join("cluster"), &status, lease, sender).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut watched = Self {
            runtime,
            folder,
            events,
            objects: BTreeMap::new(),
            version: 0,
            in_sync: None,
            errors: Vec::new(),
            told: BTreeMap::new(),
            deleted: BTreeMap::new(),
        };
        watched.until("the first word", |watched| watched.in_sync.is_some());
        watched
    }

    /// The source anew, over the same files: what a restart of the controller does.
    fn restart(self) -> Self {
        let Self { folder, events, .. } = self;
        drop(events); // with nobody to tell, the old source ends
        Self::start(folder)
    }

    /// Takes in what is told until something is so.
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        while !so(self) {
            let next = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.events.recv()).await });
            let Ok(Some(Event::Source(events))) = next else {
                panic!(
                    "waited in vain for {what}; version {} {:?} {:#?}",
                    self.version,
                    self.objects.keys(),
                    self.errors
                )
            };
            events.into_iter().for_each(|event| self.take(event));
        }
    }

    fn take(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Upsert(object) => {
                *self.told.entry(object.key()).or_default() += 1;
                self.objects.insert(object.key(), object);
            }
            SourceEvent::Delete(key) => {
                *self.deleted.entry(key.clone()).or_default() += 1;
                assert!(self.objects.remove(&key).is_some(), "{key} was deleted but never told");
            }
            SourceEvent::Version(version) => {
                assert!(version > self.version, "the version went back");
                self.version = version;
            }
            SourceEvent::InSync(in_sync) => self.in_sync = Some(in_sync),
            SourceEvent::Errors(errors) => self.errors = errors,
        }
    }

    /// Waits until everything up to the newest change of a file or folder has been told.
    fn catch_up(&mut self, path: &str) {
        let version = change_time(&self.path(path));
        self.until("the version of a file", |watched| watched.version >= version);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("cluster").join(name)
    }

    fn write(&mut self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.catch_up(name);
    }

    /// The names of what is in force, with the value of the label `app`.
    fn in_force(&self) -> Vec<String> {
        let shown = self.objects.values().map(|object| match object {
            Object::Pod(pod) => format!("{} {}", pod.key, pod.labels.get("app").unwrap()),
            other => other.key().to_string(),
        });
        shown.collect()
    }

    /// Errors (not warnings), as `file:line what`.
    fn complaints(&self) -> Vec<String> {
        let errors = self.errors.iter().filter(|error| error.severity == Severity::Error);
        for error in errors.clone() {
            assert!(!error.what_to_do.is_empty() && !error.in_force.is_empty(), "{error:?}");
        }
        errors.map(|error| format!("{}:{} {}", error.file, error.line, error.what)).collect()
    }
}

fn change_time(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path).unwrap();
    u64::try_from(found.ctime()).unwrap() * 1_000_000_000 + u64::try_from(found.ctime_nsec()).unwrap()
}

#[test]
fn files_added_edited_and_deleted_in_folders_of_any_depth() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1"))]);
    assert_eq!((watched.in_force(), watched.in_sync), (vec!["shop/one 1".to_owned()], Some(true)));
    watched.catch_up("a.yaml");

    fs::create_dir_all(watched.path("deep/deeper")).unwrap();
    watched.write("deep/deeper/b.yml", &pod("two", "2"));
    watched.write(
        "c.json",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"three","namespace":"shop","labels":{"app":"3"}}}"#,
    );
    watched.write("notes.txt", "not a manifest");
    watched.write("a.yaml", &pod("one", "1b"));
    assert_eq!(watched.in_force(), ["shop/one 1b", "shop/three 3", "shop/two 2"]);

    fs::remove_file(watched.path("c.json")).unwrap();
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one 1b", "shop/two 2"]);
    fs::remove_dir_all(watched.path("deep")).unwrap();
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one 1b"]);
    assert!(watched.errors.is_empty(), "{:?}", watched.errors);
}

#[test]
fn a_rename_changes_nothing() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1"))]);
    fs::rename(watched.path("a.yaml"), watched.path("z.yaml")).unwrap();
    watched.catch_up("");
    fs::create_dir(watched.path("folder")).unwrap();
    fs::rename(watched.path("z.yaml"), watched.path("folder/a.yaml")).unwrap();
    watched.catch_up("folder");
    fs::rename(watched.path("folder"), watched.path("renamed")).unwrap();
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one 1"]);
    assert_eq!(watched.told.values().collect::<Vec<_>>(), [&1]);
    assert!(watched.deleted.is_empty() && watched.errors.is_empty());
    // The folder is still watched under its new name.
    watched.write("renamed/a.yaml", &pod("one", "2"));
    assert_eq!(watched.in_force(), ["shop/one 2"]);
}

#[test]
fn what_editors_do_tells_an_object_once_and_deletes_nothing() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1"))]);
    // Write beside, then move over.
    fs::write(watched.path(".a.yaml.swp"), "half").unwrap();
    fs::write(watched.path("a.yaml~"), pod("one", "2")).unwrap();
    fs::rename(watched.path("a.yaml~"), watched.path("a.yaml")).unwrap();
    watched.catch_up("a.yaml");
    assert_eq!(watched.in_force(), ["shop/one 2"]);
    // Move away, then write anew.
    fs::rename(watched.path("a.yaml"), watched.path("a.yaml~")).unwrap();
    fs::write(watched.path("a.yaml"), pod("one", "3")).unwrap();
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one 3"]);
    // Delete, then write anew.
    fs::remove_file(watched.path("a.yaml")).unwrap();
    fs::write(watched.path("a.yaml"), pod("one", "4")).unwrap();
    watched.catch_up("");
    watched.catch_up("a.yaml");
    assert_eq!(watched.in_force(), ["shop/one 4"]);
    assert!(watched.deleted.is_empty() && watched.errors.is_empty(), "{:?}", watched.errors);
}

#[test]
fn a_file_is_not_read_while_it_is_being_written() {
    use std::io::Write;
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1")), ("b.yaml", &pod("two", "1"))]);
    for round in 0..50 {
        // Truncated, then written in two halves; something else happens in between, so the source is awake.
        let text = format!("{}---\n{}", pod("one", &format!("r{round}")), pod("extra", "x"));
        let mut file = fs::File::create(watched.path("a.yaml")).unwrap();
        watched.write("b.yaml", &pod("two", &format!("r{round}")));
        file.write_all(&text.as_bytes()[..text.len() / 3]).unwrap();
        watched.write("b.yaml", &pod("two", &format!("s{round}")));
        file.write_all(&text.as_bytes()[text.len() / 3..]).unwrap();
        drop(file);
        watched.until("the new version", |watched| {
            watched.in_force().contains(&format!("shop/one r{round}")) && watched.objects.len() == 3
        });
        assert!(watched.complaints().is_empty(), "{:?}", watched.complaints());
    }
    assert!(watched.deleted.is_empty(), "{:?}", watched.deleted);
    assert_eq!(watched.told[&watched.objects.values().next().unwrap().key()], 1, "extra never changed");
}

#[test]
fn a_half_written_file_changes_nothing_and_is_reported() {
    let two = format!("{}---\n{}", pod("one", "1"), pod("two", "1"));
    let mut watched = Watched::over(&[("a.yaml", &two)]);
    watched.write("a.yaml", &format!("{}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: two, name", pod("one", "2")));
    assert_eq!(watched.in_force(), ["shop/one 1", "shop/two 1"]);
    let complaints = watched.complaints();
    assert!(complaints.len() == 1 && complaints[0].starts_with("a.yaml:8 "), "{complaints:?}");
    assert_eq!(watched.in_sync, Some(true), "an older version of everything is in force");
    // Also in errors.json, whole.
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(watched.folder.path().join("status/errors.json")).unwrap()).unwrap();
    assert_eq!(written["errors"][0]["file"], "a.yaml");
    // A restart finds the last good version of it.
    let mut watched = watched.restart();
    assert_eq!(
        (watched.in_force(), watched.in_sync),
        (vec!["shop/one 1".to_owned(), "shop/two 1".to_owned()], Some(true))
    );
    assert_eq!(watched.complaints(), complaints);
    watched.write("a.yaml", &pod("one", "3"));
    assert_eq!(watched.in_force(), ["shop/one 3"]);
    assert!(watched.errors.is_empty());
}

#[test]
fn an_invalid_object_leaves_its_last_good_version_and_the_rest_of_the_file_counts() {
    let valid = INVALID.replace("99999", "80");
    let mut watched = Watched::over(&[("p.yaml", &format!("{valid}---\n{}", pod("one", "1")))]);
    watched.write("p.yaml", &format!("{INVALID}---\n{}", pod("one", "2")));
    assert_eq!(watched.in_force(), ["shop/one 2", "NetworkPolicy/shop/web"]);
    assert_eq!(watched.told[&watched.objects.values().nth(1).unwrap().key()], 1);
    let complaint = &watched.complaints()[0];
    assert!(complaint.starts_with("p.yaml:8 NetworkPolicy/shop/web: spec.ingress[0].ports[0].port"), "{complaint}");
    assert_eq!(watched.errors[0].in_force, "its last good version");

    let mut watched = watched.restart();
    assert_eq!((watched.in_force().len(), watched.in_sync), (2, Some(true)));
    // Deleting the object takes the last good version away too.
    watched.write("p.yaml", &pod("one", "2"));
    assert_eq!(watched.in_force(), ["shop/one 2"]);
    let watched = watched.restart();
    assert_eq!(watched.in_force(), ["shop/one 2"]);
}

#[test]
fn without_a_last_good_version_the_source_is_not_in_sync() {
    for (broken, place) in [(INVALID, "p.yaml:8 "), ("kind: {\n", "p.yaml:1 "), ("\0", "p.yaml:1 ")] {
        let mut watched = Watched::over(&[("a.yaml", &pod("one", "1")), ("p.yaml", broken)]);
        watched.catch_up("p.yaml");
        assert_eq!(watched.in_sync, Some(false), "{broken:?}");
        let complaint = &watched.complaints()[0];
        assert!(complaint.starts_with(place), "{complaint}");
        watched.write("p.yaml", &INVALID.replace("99999", "80"));
        watched.until("in sync", |watched| watched.in_sync == Some(true));
        assert_eq!(watched.in_force(), ["shop/one 1", "NetworkPolicy/shop/web"]);
    }
}

#[test]
fn while_a_files_contents_are_unknown_nothing_is_removed() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1")), ("b.yaml", &pod("two", "1"))]);
    watched.write("new.yaml", "kind: [\n");
    assert_eq!(watched.in_sync, Some(false));
    // Perhaps it was to say what a.yaml said.
    fs::remove_file(watched.path("a.yaml")).unwrap();
    fs::write(watched.path("b.yaml"), pod("two", "2")).unwrap();
    watched.until("the other file", |watched| watched.in_force().contains(&"shop/two 2".to_owned()));
    assert_eq!(watched.in_force(), ["shop/one 1", "shop/two 2"]);
    assert!(watched.version < change_time(&watched.path("")), "the version does not claim what was not told");
    watched.write("new.yaml", &pod("three", "1"));
    assert_eq!(watched.in_force(), ["shop/three 1", "shop/two 2"]);
    assert_eq!(watched.in_sync, Some(true));
}

#[test]
fn of_two_objects_of_one_name_the_first_counts() {
    let mut watched = Watched::over(&[
        ("b.yaml", &pod("one", "b")),
        ("c.yaml", &format!("{}---\n{}", pod("one", "c"), pod("one", "c2"))),
    ]);
    assert_eq!(watched.in_force(), ["shop/one b"]);
    let expected = ["c.yaml:1 Pod/shop/one is at b.yaml:1 too", "c.yaml:6 Pod/shop/one is at b.yaml:1 too"];
    assert_eq!(watched.complaints(), expected);
    watched.write("a.yaml", &pod("one", "a"));
    assert_eq!(watched.in_force(), ["shop/one a"]);
    assert_eq!(watched.complaints().len(), 3);
    fs::remove_file(watched.path("a.yaml")).unwrap();
    fs::remove_file(watched.path("b.yaml")).unwrap();
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one c"]);
    assert!(watched.deleted.is_empty());
    watched.write("c.yaml", &pod("one", "c"));
    assert!(watched.errors.is_empty(), "{:?}", watched.errors);
}

#[test]
fn a_directory_that_vanishes_takes_nothing_away_and_is_followed_when_it_comes_back() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1")), ("b.yaml", &pod("two", "1"))]);
    let (source, away) = (watched.path(""), watched.folder.path().join("away"));
    fs::rename(&source, &away).unwrap();
    watched.until("out of sync", |watched| watched.in_sync == Some(false));
    assert_eq!(watched.in_force().len(), 2);
    assert!(watched.complaints()[0].contains("is not there"), "{:?}", watched.complaints());
    // While it is away it changes: that counts when it is back.
    fs::write(away.join("a.yaml"), pod("one", "2")).unwrap();
    fs::remove_file(away.join("b.yaml")).unwrap();
    fs::rename(&away, &source).unwrap();
    watched.until("in sync", |watched| watched.in_sync == Some(true));
    watched.catch_up("");
    assert_eq!(watched.in_force(), ["shop/one 2"]);
    assert!(watched.errors.is_empty(), "{:?}", watched.errors);
    watched.write("a.yaml", &pod("one", "3"));
    assert_eq!(watched.in_force(), ["shop/one 3"]);
}

#[test]
fn a_directory_deleted_file_by_file_vanishes_too() {
    let files: Vec<(String, String)> =
        (0..50).map(|number| (format!("{number}.yaml"), pod(&format!("p{number}"), "1"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut watched = Watched::over(&files);
    watched.until("all of them", |watched| watched.objects.len() == 50);
    fs::remove_dir_all(watched.path("")).unwrap();
    watched.until("out of sync", |watched| watched.in_sync == Some(false));
    assert_eq!((watched.objects.len(), watched.deleted.len()), (50, 0));
    // An empty one in its place is an answer: there is nothing.
    fs::create_dir(watched.path("")).unwrap();
    watched.until("nothing", |watched| watched.objects.is_empty());
}

#[test]
fn a_directory_that_does_not_exist_yet_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(folder);
    assert_eq!(watched.in_sync, Some(false));
    let new = watched.folder.path().join("new");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("a.yaml"), pod("one", "1")).unwrap();
    fs::rename(&new, watched.path("")).unwrap();
    watched.until("in sync", |watched| watched.in_sync == Some(true));
    assert_eq!(watched.in_force(), ["shop/one 1"]);
}

#[test]
fn a_configmap_volume_is_followed_through_its_links() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("cluster");
    for (version, label) in [("..1", "1"), ("..2", "2")] {
        fs::create_dir_all(root.join(version)).unwrap();
        fs::write(root.join(version).join("a.yaml"), pod("one", label)).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    let mut watched = Watched::start(folder);
    assert_eq!(watched.in_force(), ["shop/one 1"]);
    symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    watched.until("the other version", |watched| watched.in_force() == ["shop/one 2"]);
    assert!(watched.deleted.is_empty());
}

#[test]
fn the_status_directory_is_not_part_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("cluster");
    fs::create_dir_all(source.join("status")).unwrap();
    fs::write(source.join("a.yaml"), pod("one", "1")).unwrap();
    let mut watched = Watched::start_with_status(folder, "cluster/status");
    assert_eq!((watched.in_force(), watched.in_sync), (vec!["shop/one 1".to_owned()], Some(true)));
    assert!(source.join("status/last-good/objects.jsonl").exists());
    watched.write("a.yaml", &pod("one", "2"));
    assert_eq!(watched.in_force(), ["shop/one 2"]);
}

#[test]
fn no_text_makes_it_panic_or_lose_what_it_has() {
    let mut watched = Watched::over(&[("a.yaml", &pod("one", "1"))]);
    let long = "a: ".repeat(5000);
    let texts = [
        "",
        "\n",
        "---",
        "--- ---",
        "[]",
        "null",
        "42",
        "- - -",
        "{",
        "\t",
        "%YAML 9.9\n---\n",
        "&a [*a]",
        "kind: Pod",
        "apiVersion: v1\nkind: Pod\n",
        "apiVersion: v1\nkind: Pod\nmetadata: []\n",
        "apiVersion: v1\nkind: List\nitems: 7\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nspec: {podCIDRs: [x]}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \"\"}\n",
        "\u{feff}---\n",
        "? x\n: y\n",
        &long,
    ];
    for text in texts {
        watched.write("x.yaml", text);
        assert!(watched.in_force().contains(&"shop/one 1".to_owned()), "{text:?}");
        for error in &watched.errors {
            assert!(error.file == "x.yaml" && error.line > 0, "{text:?}: {error:?}");
        }
    }
    fs::write(watched.path("x.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    watched.catch_up("x.yaml");
    assert!(watched.complaints()[0].starts_with("x.yaml:1 "), "{:?}", watched.complaints());
    fs::remove_file(watched.path("x.yaml")).unwrap();
    watched.catch_up("");
    assert!(watched.errors.is_empty() && watched.in_force() == ["shop/one 1"]);
}
