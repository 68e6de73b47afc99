use super::*;

const STORY: &str = "\
# A web pod accepts TCP 80
# from its client only.

cluster
  namespace shop team=blue
  pod shop/web on node-a app=web TCP/80=http UDP/53
  pod shop/client on node-b app=client
  serve outside TCP/443

apply deny.yaml
  apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  spec:
    podSelector: {}

probe
  shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/a ingress[0]; no isolation
  shop/client -> shop/web ICMP IPv6 TimedOut by nothing
  shop/client -> outside TCP 443 size=full seen=node-b Refused
";

#[test]
fn a_story_is_read() {
    let story = parse("web", STORY).unwrap();
    assert_eq!(story.about, "A web pod accepts TCP 80 from its client only.");
    assert_eq!(story.servers, [("outside".to_owned(), Protocol::Tcp, 443)]);
    let cluster = crate::cluster::complete(crate::cluster::read_texts(story.files.clone()));
    assert_eq!(cluster.invalid, Vec::<String>::new());
    assert_eq!(cluster.pods[0].ports, [(Protocol::Tcp, 80), (Protocol::Udp, 53)]);
    let Step::Apply { text, .. } = &story.steps[0].1 else { panic!("{:?}", story.steps[0]) };
    assert!(text.ends_with("spec:\n  podSelector: {}\n"), "{text}");
    let Step::Probe(probes) = &story.steps[1].1 else { panic!("{:?}", story.steps[1]) };
    assert_eq!(probes[0].0, 17);
    assert_eq!(probes[0].1.by.as_deref().unwrap(), ["NetworkPolicy/shop/a ingress[0]", "no isolation"]);
    assert_eq!((probes[1].1.ipv6, probes[1].1.by.as_deref()), (Some(true), Some(&[][..])));
    assert_eq!((probes[2].1.size, probes[2].1.seen_as.as_deref()), (Size::Full, Some("node-b")));
}

#[test]
fn complaints_have_lines() {
    for (text, line) in [
        ("cluster\n", "line 1"),
        ("# About.\ncluster\n  pot shop/web\nprobe\n  a -> b ICMP Reached\n", "line 3"),
        ("# About.\nfly\n", "line 2"),
        ("# About.\nprobe\n  a -> b TCP Reached\n", "line 3"),
        ("# About.\nprobe\n  a -> b TCP 80 Arrived\n", "line 3"),
        ("# About.\n   indented\n", "line 2"),
        ("# About.\nforge\n  a -> b letter port=1 Seen\n", "line 3"),
        ("# About.\ncluster\n  pod shop/web on node-a TCP/0\n", "line 3"),
    ] {
        let error = format!("{:#}", parse("bad", text).unwrap_err());
        assert!(error.contains(line), "{text:?}: {error}");
    }
}

#[test]
fn a_story_that_asks_nothing_is_refused() {
    let error = format!("{:#}", parse("idle", "# About.\nremove a.yaml\n").unwrap_err());
    assert!(error.contains("asks nothing"), "{error}");
}

#[test]
fn every_story_of_the_repository_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let story = parse_file(&path).unwrap_or_else(|error| panic!("{error:#}"));
        let cluster = crate::cluster::complete(crate::cluster::read_texts(story.files.clone()));
        assert_eq!(cluster.invalid, Vec::<String>::new(), "{}", story.name);
        let about_policy = story.steps.iter().any(|(_, step)| matches!(step, Step::Apply { .. }));
        // One that applies a policy for another question's sake says so.
        assert!(about_policy || story.not_about_policy.is_some(), "{}: stories about policy apply one", story.name);
        read += 1;
    }
    assert!(read > 20);
}
