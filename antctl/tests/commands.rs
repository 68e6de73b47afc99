//! antctl as a process, against a daemon that the test plays: what it asks, what it prints, how it ends.
#![allow(clippy::unwrap_used)] // a test

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A socket that answers each question with what the test says.
struct Daemon {
    folder: tempfile::TempDir,
}

impl Daemon {
    fn answering(answer: fn(&str) -> Option<(u16, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let first = lines.next().unwrap();
                lines.find(String::is_empty).unwrap();
                let question = first.split(' ').nth(1).unwrap();
                // None: the daemon dies before it answers.
                if let Some((status, body)) = answer(question) {
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
                    let _ = stream.write_all((head + &body).as_bytes());
                }
            }
        });
        Self { folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antctl"));
        command.args(arguments).env("FERRANT_AGENT_SOCKET", self.socket());
        command.env("FERRANT_CONTROLLER_SOCKET", self.folder.path().join("controller.sock"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and what is on standard error.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(output.stdout, b"", "{arguments:?} prints nothing");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

fn node(question: &str) -> Option<(u16, String)> {
    let (path, _) = question.split_once('?').unwrap_or((question, ""));
    let body = match path {
        "/v1/info" => {
            r#"{"program":"ferrant-agent","node":"node-a","version":"0.1.0","controller_connected":true,"frame":7,
            "switch_connected":true,"flows":120,"pods":2,"node_subnets":["10.10.0.0/24","fd00:10::/64"],
            "network_policies":1,"applied_to_groups":1,"address_groups":2}"#
        }
        "/v1/pods" => {
            r#"[{"pod":"shop/web","interface":"web-1a2b","port":3,"mac":"0a:00:00:00:00:01","addresses":["10.10.0.2"],
            "container":"0123456789abcdef","egress":"open","ingress":"policed"},
            {"pod":"shop/new","interface":"new-3c4d","port":null,"mac":"0a:00:00:00:00:02","addresses":[]}]"#
        }
        "/v1/ovsflows" => {
            r#"[{"table":"Classifier","priority":200,"packets":5,"bytes":490,"matches":"in_port=shop/web","actions":
            "goto SpoofGuard","from":["Pod/shop/web"]},{"table":"IngressRule","priority":100,"packets":null,"bytes":null,
            "matches":"any","actions":"drop","from":[]}]"#
        }
        "/v1/networkpolicies" => {
            r#"[{"name":"shop/web","source":"NetworkPolicy/shop/web","appliedTo":["aa11"],"isolates":["ingress"],
            "rules":[{"name":"ingress[0]","direction":"ingress","peers":["bb22"],"services":["TCP/80"]}]}]"#
        }
        "/v1/appliedtogroups" => {
            r#"[{"name":"aa11","pods":[{"pod":"shop/web","node":"node-a","addresses":["10.10.0.2"]}],
            "policies":["NetworkPolicy/shop/web"]}]"#
        }
        "/v1/addressgroups" => r#"[{"name":"bb22","pods":[],"policies":[]},{"name":"bc33","pods":[],"policies":[]}]"#,
        _ => return Some((404, r#"{"error":"not asked here"}"#.to_owned())),
    };
    Some((200, body.to_owned()))
}

#[test]
fn every_object_has_a_table() {
    let daemon = Daemon::answering(node);
    let cases: [(&[&str], &str); 8] = [
        (
            &["get", "agentinfo"],
            "NODE     STATUS   NODE-SUBNET                 NETWORK-POLICIES   ADDRESS-GROUPS   APPLIED-TO-GROUPS   LOCAL-PODS   FLOWS   FRAME   VERSION\n\
             node-a   Ready    10.10.0.0/24,fd00:10::/64   1                  2                1                   2            120     7       0.1.0\n",
        ),
        (
            &["get", "podinterface"],
            "NAMESPACE   NAME   INTERFACE-NAME   IP          MAC                 OF-PORT   CONTAINER-ID   INGRESS   EGRESS\n\
             shop        web    web-1a2b         10.10.0.2   0a:00:00:00:00:01   3         0123456789ab   policed   open\n\
             shop        new    new-3c4d         <NONE>      0a:00:00:00:00:02   <NONE>                   <NONE>    <NONE>\n",
        ),
        (
            &["get", "pi", "web", "-n", "shop"],
            "NAMESPACE   NAME   INTERFACE-NAME   IP          MAC                 OF-PORT   CONTAINER-ID   INGRESS   EGRESS\n\
             shop        web    web-1a2b         10.10.0.2   0a:00:00:00:00:01   3         0123456789ab   policed   open\n",
        ),
        (
            &["get", "ovsflows", "-p", "web", "-n", "shop"],
            "TABLE         PRIORITY   PACKETS   BYTES   FROM                     FLOW\n\
             Classifier    200        5         490     Pod/shop/web             in_port=shop/web -> goto SpoofGuard\n\
             IngressRule   100        -         -       nothing: to be removed   any -> drop\n",
        ),
        (
            &["get", "networkpolicies"],
            "NAME       APPLIED-TO   RULES   ISOLATES   SOURCE\n\
             shop/web   aa11         1       ingress    NetworkPolicy/shop/web\n",
        ),
        (
            &["get", "atg"],
            "NAME   PODS       SELECTOR   POLICIES\naa11   shop/web   <NONE>     NetworkPolicy/shop/web\n",
        ),
        (&["get", "ag", "bb"], "NAME   POD-IPS   SELECTOR   POLICIES\nbb22   <NONE>    <NONE>     <NONE>\n"),
        (&["version"], "PROGRAM         VERSION\nantctl          0.1.0\nferrant-agent   0.1.0\n"),
    ];
    for (arguments, expected) in cases {
        assert_eq!(daemon.prints(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn json_and_yaml_say_all_and_one_named_object_is_no_list() {
    let daemon = Daemon::answering(node);
    let list: serde_json::Value = serde_json::from_str(&daemon.prints(&["get", "netpol", "-o", "json"])).unwrap();
    assert_eq!(list[0]["rules"][0]["services"][0], "TCP/80");
    let one = daemon.prints(&["get", "netpol", "web", "-n", "shop", "-o", "json"]);
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["appliedTo"][0], "aa11");
    let yaml = daemon.prints(&["get", "netpol", "-o", "yaml"]);
    assert!(yaml.contains("source: NetworkPolicy/shop/web") && yaml.contains("TCP/80"), "{yaml}");
}

#[test]
fn the_question_names_pod_policy_and_table() {
    fn flows(question: &str) -> Option<(u16, String)> {
        let flow = format!(r#"[{{"matches":"{question}"}}]"#);
        Some((200, flow))
    }
    let daemon = Daemon::answering(flows);
    let cases: [(&[&str], &str); 5] = [
        (&["-p", "web"], "pod=default/web"),
        (&["-p", "web", "-n", "shop"], "pod=shop/web"),
        (&["--pod", "shop/web"], "pod=shop/web"),
        (&["--networkpolicy", "allow web", "-T", "IngressRule"], "policy=allow%20web&table=IngressRule"),
        (&["--networkpolicy", "w", "-n", "shop"], "policy=shop/w"),
    ];
    for (flags, expected) in cases {
        let arguments: Vec<&str> = ["get", "ovsflows", "-o", "json"].iter().chain(flags).copied().collect();
        let asked: serde_json::Value = serde_json::from_str(&daemon.prints(&arguments)).unwrap();
        assert_eq!(asked[0]["matches"], format!("/v1/ovsflows?{expected}"), "{flags:?}");
    }
}

#[test]
fn failures_name_the_next_step_and_have_codes() {
    let daemon = Daemon::answering(node);
    let (code, said) = daemon.fails(&["get", "podinterface", "nobody"]);
    assert_eq!((code, said.trim()), (1, "antctl: there is no pod nobody attached on this node"));
    let (code, said) = daemon.fails(&["get", "controllerinfo"]);
    assert_eq!(code, 3);
    for part in ["controller.sock", "is ferrant-controller running here?", "--controller-socket PATH"] {
        assert!(said.contains(part), "{said}");
    }
    let (code, said) = daemon.fails(&["get", "ovsflows", "-n", "shop"]);
    assert!(code == 2 && said.contains("--pod or --networkpolicy"), "{said}");
    let (code, said) = daemon.fails(&["get", "ovsflows", "-p", "shop/web", "-n", "other"]);
    assert!(code == 2 && said.contains("leave one of them out"), "{said}");
    let (code, said) = daemon.fails(&["get", "flows"]);
    assert!(code == 2 && said.contains("ovsflows"), "{said}");
    let (code, said) = daemon.fails(&["get", "netpol", "--from", "controller"]);
    assert!(code == 3 && said.contains("ferrant-controller"), "{said}");
}

#[test]
fn a_daemon_that_refuses_dies_or_babbles_is_named() {
    let refuses = Daemon::answering(|_| Some((400, r#"{"error":"pod shop/x is not attached on node-a"}"#.to_owned())));
    let (code, said) = refuses.fails(&["get", "ovsflows", "-p", "shop/x"]);
    assert_eq!((code, said.trim()), (1, "antctl: pod shop/x is not attached on node-a"));
    let older = Daemon::answering(|_| Some((404, r#"{"error":"GET /v1/ovsflows is not asked here"}"#.to_owned())));
    let (code, said) = older.fails(&["get", "ovsflows"]);
    assert!(code == 1 && said.contains("different versions"), "{said}");
    let dies = Daemon::answering(|_| None);
    let (code, said) = dies.fails(&["get", "agentinfo"]);
    assert!(code == 3 && said.contains("ferrant-agent at") && said.contains("did not answer /v1/info"), "{said}");
    let babbles = Daemon::answering(|_| Some((200, "<html>".to_owned())));
    let (code, said) = babbles.fails(&["get", "podinterface"]);
    assert!(code == 3 && said.contains("not understood"), "{said}");
}

#[test]
fn a_reader_that_has_read_enough_ends_it_quietly() {
    // More than a pipe holds, so that antctl is still writing when the reader goes.
    fn many(_: &str) -> Option<(u16, String)> {
        let flow =
            r#"{"table":"Classifier","matches":"in_port=shop/a-pod-with-a-long-name","actions":"goto SpoofGuard"}"#;
        Some((200, format!("[{}]", vec![flow; 20_000].join(","))))
    }
    let daemon = Daemon::answering(many);
    let mut child = daemon.command(&["get", "ovsflows"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn the_page_is_what_help_says() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_antctl")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut page = String::new();
    let commands: [&[&str]; 10] = [
        &["--help"],
        &["get", "--help"],
        &["get", "ovsflows", "--help"],
        &["get", "podinterface", "--help"],
        &["get", "agentinfo", "--help"],
        &["get", "controllerinfo", "--help"],
        &["get", "networkpolicy", "--help"],
        &["get", "appliedtogroup", "--help"],
        &["get", "addressgroup", "--help"],
        &["version", "--help"],
    ];
    for arguments in commands {
        let words = arguments[..arguments.len() - 1].join(" ");
        let title = if words.is_empty() { "antctl".to_owned() } else { format!("antctl {words}") };
        page += &format!("### {title}\n\n```\n{}\n```\n\n", help(arguments).trim_end());
    }
    let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/antctl.md"));
    metrics::page::hold(file, "help", &page).unwrap();
}
