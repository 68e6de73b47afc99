//! The files: who may read them, what becomes of them when they are not whole, and of many who write at once.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use certificates::{Authority, Created, Identity, Role, Validity};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn validity() -> Validity {
    Validity::from_now(Duration::from_secs(3600))
}

fn error_of<T>(result: Result<T, certificates::CertificateError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn of_many_who_make_a_ca_at_once_all_find_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let made: Vec<(Created, String)> = std::thread::scope(|scope| {
        let create = || (Authority::create(&ca).unwrap(), Authority::open(&ca).unwrap().pem().to_owned());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|(_, pem)| *pem == made[0].1));
    assert_eq!(made.iter().filter(|(created, _)| *created == Created::Made).count(), 1);
    assert_eq!((mode(&ca), mode(&ca.join("ca.key")), mode(&ca.join("ca.crt"))), (0o700, 0o600, 0o600));
    assert_eq!(fs::read_dir(&ca).unwrap().count(), 2, "nothing else is left behind");
    assert_eq!(Authority::create(&ca).unwrap(), Created::WasThere);
    assert_eq!(Authority::open(&ca).unwrap().pem(), made[0].1, "it is never overwritten");
}

#[test]
fn a_ca_that_was_begun_is_completed_from_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path();
    Authority::create(ca).unwrap();
    let key = fs::read(ca.join("ca.key")).unwrap();
    fs::remove_file(ca.join("ca.crt")).unwrap();
    assert!(error_of(Authority::open(ca)).contains("ferrant-controller certificates create"));
    assert_eq!(Authority::create(ca).unwrap(), Created::Made);
    assert_eq!(fs::read(ca.join("ca.key")).unwrap(), key);
    Authority::open(ca).unwrap().issue(&Role::Client("ann".to_owned()), validity()).unwrap();
}

#[test]
fn files_of_a_ca_that_are_not_whole_are_named_with_what_to_do() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Authority::create(other.path()).unwrap();
    let broken = |name: &str, change: &dyn Fn(&Path)| {
        let ca = folder.path().join("ca");
        let _ = fs::remove_dir_all(&ca);
        Authority::create(&ca).unwrap();
        change(&ca.join(name));
        let error = error_of(Authority::open(&ca));
        assert!(error.contains(&format!("{name}: ")), "{error} names {name}");
        assert_eq!(error_of(Authority::create(&ca)), error, "and making one does not pass over it");
        error
    };
    let half = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, &text[..text.len() / 2]).unwrap();
    };
    for name in ["ca.crt", "ca.key"] {
        assert!(broken(name, &half).contains("issue all certificates again"));
        assert!(broken(name, &|path| fs::write(path, "garbage").unwrap()).contains("issue all"));
        assert!(broken(name, &|path| fs::write(path, "").unwrap()).contains("issue all"));
        assert!(broken(name, &|path| fs::write(path, [0xff, 0xfe]).unwrap()).contains("issue all"));
    }
    assert!(broken("ca.key", &|path| fs::remove_file(path).unwrap()).contains("No such file"));
    let of_another = |path: &Path| {
        fs::copy(other.path().join("ca.key"), path).unwrap();
    };
    assert!(broken("ca.key", &of_another).contains("not the key of ca.crt"));
    let for_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(broken("ca.key", &for_all).contains("chmod 600"));
}

#[test]
fn what_is_issued_is_its_owners_only_and_never_lands_beside_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, out) = (folder.path().join("ca"), folder.path().join("node-a"));
    Authority::create(&ca).unwrap();
    let authority = Authority::open(&ca).unwrap();
    let role = Role::Node("node-a".to_owned());
    let identity = authority.issue_to(&out, &role, validity()).unwrap();
    assert_eq!(identity.role(), &role);
    assert_eq!((mode(&out), mode(&out.join("identity.pem")), mode(&out.join("ca.crt"))), (0o700, 0o600, 0o600));
    assert!(error_of(authority.issue_to(&ca, &role, validity())).contains("name another folder"));
    assert!(!ca.join("identity.pem").exists());
    // A second time: another key, in the first one's place.
    let first = fs::read(out.join("identity.pem")).unwrap();
    authority.issue_to(&out, &role, validity()).unwrap();
    assert!(fs::read(out.join("identity.pem")).unwrap() != first);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "nothing else is left behind");
    let wrong = authority.issue_to(&folder.path().join("x"), &Role::Node("Node_A".to_owned()), validity());
    assert!(error_of(wrong).contains("`Node_A` is no name") && !folder.path().join("x").exists());
}

#[test]
fn an_identity_that_is_not_whole_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    Authority::create(&folder.path().join("ca")).unwrap();
    let authority = Authority::open(&folder.path().join("ca")).unwrap();
    let out = folder.path().join("out");
    let broken = |name: &str, change: &dyn Fn(&Path)| {
        authority.issue_to(&out, &Role::Node("node-a".to_owned()), validity()).unwrap();
        change(&out.join(name));
        let error = error_of(Identity::read(&out));
        assert!(error.contains(&format!("{name}: ")), "{error} names {name}");
        error
    };
    let text_of = |path: &Path| fs::read_to_string(path).unwrap();
    for name in ["ca.crt", "identity.pem"] {
        let half = |path: &Path| fs::write(path, &text_of(path)[..text_of(path).len() / 2]).unwrap();
        assert!(broken(name, &half).contains("certificates issue"));
        assert!(broken(name, &|path| fs::write(path, "garbage").unwrap()).contains("no certificate in it"));
        assert!(broken(name, &|path| fs::remove_file(path).unwrap()).contains("certificates issue"));
    }
    let without_key = |path: &Path| {
        let text = text_of(path);
        fs::write(path, text.split("-----BEGIN PRIVATE KEY").next().unwrap()).unwrap();
    };
    assert!(broken("identity.pem", &without_key).contains("no key"));
    let another_key = |path: &Path| {
        let (own, other) = (text_of(path), authority.issue(&Role::Controller, validity()).unwrap());
        let key = other.split_once("-----BEGIN PRIVATE KEY").unwrap().1.to_owned();
        fs::write(
            path,
            own.split("-----BEGIN PRIVATE KEY").next().unwrap().to_owned() + "-----BEGIN PRIVATE KEY" + &key,
        )
        .unwrap();
    };
    assert!(broken("identity.pem", &another_key).contains("do not fit"));
    let for_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(broken("identity.pem", &for_all).contains("chmod 600"));
}
