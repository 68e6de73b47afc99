//! Nodes and switches without Ferrant: what the lab itself promises.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use e2e::lab::underlay::{OUTSIDE, OUTSIDE_V6};
use e2e::lab::{Datapath, LabName, Leftovers, Node, NodePlan, Pace, Underlay};
use e2e::probe::{Patience, Probe, Protocol, Verdict, send, serve};

fn plan(number: u8) -> NodePlan {
    NodePlan {
        name: format!("node-{number}"),
        addresses: vec![format!("172.18.0.1{number}").parse().unwrap(), format!("fd00:18::1{number}").parse().unwrap()],
        pod_cidrs: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_reach_each_other_and_the_outside_and_leave_nothing() {
    let name = LabName::draw();
    let folder = tempfile::Builder::new().prefix(&name.prefix()).tempdir().unwrap();
    let leftovers = Leftovers::watch(name.prefix(), folder.path().to_owned());
    let underlay = Underlay::create(&name).unwrap();
    let start = |number: u8| {
        Node::start(&name, plan(number), usize::from(number), &underlay, folder.path(), Datapath::Netdev).unwrap()
    };
    let (first, second) = (start(1), start(2));
    assert!(!leftovers.find_now().is_empty(), "a lab that is up is found");

    let patience = Patience::new(Pace::of(Datapath::Netdev));
    for (namespace, owner, addresses) in [
        (second.namespace(), "node-2", second.plan().addresses.clone()),
        (&underlay.outside, "outside", vec![OUTSIDE.into(), OUTSIDE_V6.into()]),
    ] {
        let wanted: Vec<_> = addresses
            .iter()
            .flat_map(|address| {
                [Protocol::Tcp, Protocol::Udp].map(|protocol| (protocol, SocketAddr::new(*address, 80)))
            })
            .collect();
        let _servers = serve(namespace, owner, &wanted).await.unwrap();
        for address in addresses {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                let probe = Probe::new(first.namespace(), address, protocol, 80).owned_by(owner);
                assert_eq!(
                    send(&probe, &patience).await.unwrap().verdict,
                    Verdict::Reached,
                    "{owner} {address} {protocol}"
                );
            }
            let large = Probe::new(first.namespace(), address, Protocol::Tcp, 80).of_size(200_000);
            assert_eq!(send(&large, &patience).await.unwrap().verdict, Verdict::Reached, "{owner} {address} large");
        }
    }

    drop((first, second, underlay));
    folder.close().unwrap();
    assert_eq!(leftovers.find(), Vec::<String>::new());
}
