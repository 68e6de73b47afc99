//! Two controllers over one directory, and agents that listen to both and take from one.
#![allow(clippy::unwrap_used)] // a test that cannot go on ends here

mod running;

use apis::digest::Holding;
use apis::stream::from_controller::Message;
use apis::stream::{Frame, FromController, Held, Keys, PodReport};
use prost::Message as _;
use running::{Agent, Controller, Summary};

/// Two nodes, with as many pods on the second as asked for, which a policy of the first names.
fn cluster(pods: usize) -> String {
    let mut text = String::new();
    for (node, number) in [("node-a", 1), ("node-b", 2)] {
        text += &format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nspec: {{podCIDRs: [10.{number}.0.0/16]}}\nstatus: \
             {{addresses: [{{type: InternalIP, address: 172.18.0.{number}}}]}}\n---\n"
        );
    }
    text += "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {nodeName: node-a}\n---\n";
    for number in 0..pods {
        text += &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a-pod-whose-name-is-as-long-as-names-of-pods-are-{number}, namespace: shop, \
             labels: {{app: client}}}}\nspec: {{nodeName: node-b}}\nstatus: {{podIPs: [{{ip: 10.2.{}.{}}}]}}\n---\n",
            number / 250,
            number % 250 + 1
        );
    }
    text += "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n  podSelector: \
             {matchLabels: {app: web}}\n  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]\n";
    text
}

fn report(sequence: u64, name: &str, address: Option<[u8; 4]>) -> PodReport {
    let addresses = address.iter().map(|address| bytes::Bytes::copy_from_slice(address)).collect();
    PodReport { sequence, namespace: "shop".to_owned(), name: name.to_owned(), addresses, mac: bytes::Bytes::new() }
}

fn hold(holding: &mut Holding, frame: &Frame) {
    if frame.replace {
        *holding = Holding::default();
    }
    assert!(frame.changes.iter().all(|change| holding.apply(change)));
}

/// Takes with what is held; the first frame, and whether keys were asked for.
async fn take(agent: &mut Agent, number: u64, holding: &Holding) -> (Frame, bool) {
    agent.take(number, holding.digests()).await;
    loop {
        match agent.said().await {
            // Of a Take that this one has overtaken.
            Message::Frame(frame) if frame.take != number => {}
            Message::Ask(ask) => {
                assert_eq!(ask.take, number);
                let held = holding.in_buckets(|bucket| ask.buckets.contains(&bucket.into()));
                let held = held.into_iter().map(|(name, content)| Held { name, content }).collect();
                agent.say_keys(Keys { take: number, held, last: true }).await;
                return (agent.frame().await, true);
            }
            Message::Frame(frame) => return (frame, false),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_agent_that_changes_controllers_is_told_the_difference() {
    let one = Controller::start(&[("cluster.yaml", &cluster(100))]);
    let two = Controller::start_beside(&one);
    let mut first = Agent::listen(&one, "node-a", vec![], 0).await;
    let mut second = Agent::listen(&two, "node-a", vec![], 0).await;
    first.take(1, vec![]).await;
    let frame = first.frame().await;
    assert!(frame.replace && frame.take == 1 && frame.changes.len() > 100);
    let mut holding = Holding::default();
    hold(&mut holding, &frame);
    first.acknowledge(frame.number).await;

    // Both say the same: nothing is sent again.
    let (frame, asked) = take(&mut second, 7, &holding).await;
    assert_eq!((frame.summary().len(), frame.replace, frame.take, asked), (0, false, 7, false));
    second.acknowledge(frame.number).await;

    // What only one was told of is the difference, also what is gone.
    let changed = cluster(99).replace("app: web}}\nspec: {nodeName", "app: web, more: x}}\nspec: {nodeName");
    one.write("cluster.yaml", &changed);
    let gone = "removed endpoint shop/a-pod-whose-name-is-as-long-as-names-of-pods-are-99".to_owned();
    let mut told = Vec::new();
    while !told.contains(&gone) {
        let frame = second.frame().await;
        told.extend(frame.summary());
        second.acknowledge(frame.number).await;
    }
    one.wait_for_version(two.get("/v1/info").1["version"].as_u64().unwrap());
    let (difference, asked) = take(&mut first, 8, &holding).await;
    assert!(asked && !difference.replace && difference.take == 8);
    told.sort();
    assert_eq!(difference.summary(), told);
    hold(&mut holding, &difference);
    first.acknowledge(difference.number).await;
    let (frame, asked) = take(&mut first, 9, &holding).await;
    assert_eq!((frame.summary().len(), asked), (0, false), "what was told is what is needed");
}

#[tokio::test]
async fn what_happens_while_keys_are_compared_is_told_once_and_whole() {
    let controller = Controller::start(&[("cluster.yaml", &cluster(20))]);
    let mut agent = Agent::listen(&controller, "node-a", vec![], 0).await;
    agent.take(1, vec![]).await;
    let mut holding = Holding::default();
    let frame = agent.frame().await;
    hold(&mut holding, &frame);
    // What it has lacks a pod, so that some bucket differs.
    let gone =
        frame.changes.iter().find(|change| change.encode_to_vec().ends_with(b"x") || !apis::digest::removes(change));
    assert!(holding.apply(&apis::digest::removal(gone.unwrap()).unwrap()));
    agent.take(2, holding.digests()).await;
    let Message::Ask(ask) = agent.said().await else { panic!("the digests differ") };
    controller.write("more.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n");
    controller.wait_for_version(controller.version_of("more.yaml"));
    let held = holding.in_buckets(|bucket| ask.buckets.contains(&bucket.into()));
    let held = held.into_iter().map(|(name, content)| Held { name, content }).collect();
    agent.say_keys(Keys { take: 2, held, last: true }).await;
    let difference = agent.frame().await;
    assert_eq!(difference.changes.len(), 2, "{:?}", difference.summary());
    hold(&mut holding, &difference);
    agent.acknowledge(difference.number).await;
    let (frame, asked) = take(&mut agent, 3, &holding).await;
    assert_eq!((frame.summary().len(), asked), (0, false));
}

#[tokio::test]
async fn who_listens_hears_how_new_the_controller_is_and_a_pod_costs_few_bytes() {
    let controller = Controller::start(&[("cluster.yaml", &cluster(3))]);
    let mut listening = Agent::listen(&controller, "node-b", vec![], 0).await;
    let first = listening.head_with(|_| true).await;
    assert!(first.version.as_ref().unwrap().whole && !first.complete);
    let mut taking = Agent::listen(&controller, "node-a", vec![], 0).await;
    taking.take(1, vec![]).await;
    let frame = taking.frame().await;
    taking.acknowledge(frame.number).await;
    listening.report(report(1, "a-pod-whose-name-is-as-long-as-names-of-pods-are-0", Some([10, 2, 9, 9]))).await;
    let frame = taking.frame().await;
    assert_eq!(frame.changes.len(), 1);
    let nodes: Vec<_> = frame.version.as_ref().unwrap().nodes.keys().cloned().collect();
    assert_eq!(nodes, ["node-b"], "only what has changed");
    let bytes = FromController { message: Some(Message::Frame(frame.clone())) }.encoded_len();
    assert!(bytes <= 250, "{bytes} bytes");
    taking.acknowledge(frame.number).await;
    let head = listening
        .head_with(|head| head.number > first.number && !head.version.as_ref().unwrap().nodes.is_empty())
        .await;
    assert!(!head.version.unwrap().whole);
    // A report that concerns nobody else costs a taker a head, which says that what it has is of that version too.
    listening.report(report(2, "unknown", None)).await;
    let head =
        taking.head_with(|head| head.version.as_ref().unwrap().nodes.get("node-b").is_some_and(|at| at.sequence == 2));
    assert!(head.await.complete);
}

#[tokio::test]
async fn a_freed_address_is_released_once_every_other_node_knows() {
    let controller = Controller::start(&[("cluster.yaml", &cluster(1))]);
    let pod = "a-pod-whose-name-is-as-long-as-names-of-pods-are-0";
    let mut b = Agent::listen(&controller, "node-b", vec![report(1, pod, Some([10, 2, 0, 7]))], 1).await;
    let mut a = Agent::listen(&controller, "node-a", vec![], 0).await;
    a.take(1, vec![]).await;
    let frame = a.frame().await;
    a.acknowledge(frame.number).await;
    // Its greeting is released, then what it reports.
    let released = |message: Message| match message {
        Message::Released(released) => released.sequence,
        other => panic!("{other:?}"),
    };
    assert_eq!(released(b.said().await), 1);
    b.report(report(2, pod, None)).await;
    let frame = a.frame().await;
    assert_eq!(frame.summary(), [format!("endpoint shop/{pod} []")]);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), b.said()).await.is_err(), "it is still mapped");
    a.acknowledge(frame.number).await;
    assert_eq!(released(b.said().await), 2);
}

#[tokio::test]
async fn an_agent_that_takes_elsewhere_says_what_it_covers() {
    let controller = Controller::start(&[("cluster.yaml", &cluster(1))]);
    let mut b = Agent::listen(&controller, "node-b", vec![], 4).await;
    let mut a = Agent::listen(&controller, "node-a", vec![], 0).await;
    let knows_b = |head: &apis::stream::Head| head.version.as_ref().unwrap().nodes.contains_key("node-b");
    let head = a.head_with(knows_b).await;
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), b.said()).await.is_err(), "nobody knows");
    a.acknowledge_head(head.number).await;
    match b.said().await {
        Message::Released(released) => assert_eq!(released.sequence, 4),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn agents_that_do_not_read_cost_little_memory() {
    const AGENTS: u64 = 24;
    const PODS: usize = 12_000;
    let mut webs = String::new();
    for number in 0..AGENTS {
        webs += &format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: silent-{number}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: \
             web-{number}, namespace: shop, labels: {{app: web}}}}\nspec: {{nodeName: silent-{number}}}\n---\n"
        );
    }
    let controller = Controller::start(&[("cluster.yaml", &cluster(PODS)), ("webs.yaml", &webs)]);
    controller.wait_for_version(controller.version_of("cluster.yaml"));
    // One that reads, so that what all share is there.
    let mut reader = Agent::listen(&controller, "node-a", vec![], 0).await;
    reader.take(1, vec![]).await;
    let frame = reader.frame().await;
    let whole = frame.encoded_len() as u64 / 1024;
    assert!(frame.changes.len() > PODS && whole > 1000, "{} objects, {whole} KiB", frame.changes.len());
    let before = controller.memory();
    let mut silent = Vec::new();
    for number in 0..AGENTS {
        let mut agent = Agent::listen(&controller, &format!("silent-{number}"), vec![], 0).await;
        agent.take(1, vec![]).await;
        silent.push(agent);
    }
    let told = || {
        let info = controller.get("/v1/info").1;
        (0..AGENTS).all(|number| info["agents"][format!("silent-{number}")]["sent_frame"] == 1)
    };
    while !told() {
        tokio::task::yield_now().await;
    }
    let grown = controller.memory().saturating_sub(before);
    println!("{AGENTS} silent agents cost {grown} KiB, the frame alone has {whole} KiB");
    assert!(grown < AGENTS * whole / 2, "{AGENTS} silent agents cost {grown} KiB, the frame alone has {whole} KiB");
    // What was not read then is there when it is read.
    let frame = silent[3].frame().await;
    assert!(frame.changes.len() > PODS);
}

#[tokio::test]
async fn of_two_with_one_status_directory_the_holder_of_the_lease_writes() {
    let one = Controller::start(&[("cluster.yaml", &cluster(1))]);
    let holder = || {
        let lease = std::fs::read(one.status().join("lease.json")).ok()?;
        let lease: serde_json::Value = serde_json::from_slice(&lease).ok()?;
        Some(lease["holder"].as_str()?.split(' ').next()?.to_owned())
    };
    let errors = || std::fs::read_to_string(one.status().join("errors.json")).unwrap_or_default();
    let within = |what: &str, so: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !so() {
            assert!(start.elapsed().as_secs() < 30, "waited for {what}; held by {:?}, errors {}", holder(), errors());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    let name = |controller: &Controller| Some(format!("ferrant-controller/127.0.0.1:{}", controller.port));
    within("the first to hold it", &|| holder() == name(&one));
    let two = Controller::start_sharing(&one);
    one.write("broken.yaml", "kind: [\n");
    within("the error to be written", &|| errors().contains("broken.yaml"));
    // The holder is paused: the other writes what it would have written.
    one.pause(true);
    within("the second to hold it", &|| holder() == name(&two));
    std::fs::rename(one.source().join("broken.yaml"), one.source().join("broken-too.yaml")).unwrap();
    within("the other's words", &|| errors().contains("broken-too.yaml"));
    // It goes on, and has lost it: what it knew then is not written over what is known now.
    one.pause(false);
    one.write("another.yaml", "kind: [\n");
    within("both errors", &|| errors().contains("another.yaml") && errors().contains("broken-too.yaml"));
    assert_eq!(holder(), name(&two));
    drop(two);
    within("the first to hold it again", &|| holder() == name(&one));
}
