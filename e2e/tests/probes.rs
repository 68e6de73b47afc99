//! What probes say on a wire without a switch: two namespaces, a cable, and nftables where silence is needed.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::lab::{Datapath, LabName, Namespace, Pace, ip, run};
use e2e::probe::{Patience, Probe, Protocol, Verdict, send, send_all, serve};

struct Cable {
    client: Arc<Namespace>,
    server: Arc<Namespace>,
}

const SERVER: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// A cable that carries both families: the kernel needs up to a second after the link is up.
async fn ready_cable() -> Cable {
    let cable = cable();
    let patience = patience();
    let start = Instant::now();
    for address in SERVER {
        let echo = Probe::new(&cable.client, address.parse().unwrap(), Protocol::Icmp, 0);
        while send(&echo, &patience).await.unwrap().verdict != Verdict::Reached {
            assert!(start.elapsed() < Duration::from_secs(10), "{address} is never reached");
        }
    }
    cable
}

fn cable() -> Cable {
    let name = LabName::draw();
    let client = Arc::new(Namespace::create(name.namespace("client")).unwrap());
    let server = Arc::new(Namespace::create(name.namespace("server")).unwrap());
    client.trust_addresses().unwrap();
    server.trust_addresses().unwrap();
    ip(&client, &[format!("link add eth0 type veth peer name eth0 netns {}", server.name())]).unwrap();
    for namespace in [&client, &server] {
        ip(namespace, &["link set eth0 up".to_owned()]).unwrap();
    }
    for (namespace, host) in [(&client, 1), (&server, 2)] {
        ip(
            namespace,
            &[
                format!("address add 192.0.2.{host}/24 dev eth0"),
                format!("address add 2001:db8::{host}/64 dev eth0 nodad"),
            ],
        )
        .unwrap();
    }
    Cable { client, server }
}

fn patience() -> Patience {
    Patience::new(Pace::of(Datapath::Netdev))
}

fn sockets(port: u16) -> Vec<(Protocol, SocketAddr)> {
    let address = |text: &str| SocketAddr::new(text.parse().unwrap(), port);
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .flat_map(|protocol| SERVER.map(|text| (protocol, address(text))))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_port_is_reached_and_an_unserved_one_refuses() {
    let cable = ready_cable().await;
    let _servers = serve(&cable.server, "shop/web", &sockets(80)).await.unwrap();
    let patience = patience();
    for address in SERVER {
        let to: IpAddr = address.parse().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let served =
                send(&Probe::new(&cable.client, to, protocol, 80).owned_by("shop/web"), &patience).await.unwrap();
            assert_eq!(served.verdict, Verdict::Reached, "{address} {protocol}");
            let own = if to.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
            assert_eq!(served.seen_as, Some(own.parse().unwrap()));
            let unserved = send(&Probe::new(&cable.client, to, protocol, 81), &patience).await.unwrap();
            assert_eq!(unserved.verdict, Verdict::Refused, "{address} {protocol}");
        }
        let echo = send(&Probe::new(&cable.client, to, Protocol::Icmp, 0), &patience).await.unwrap();
        assert_eq!(echo.verdict, Verdict::Reached, "{address}");
        let large = Probe::new(&cable.client, to, Protocol::Icmp, 0).of_size(1400);
        assert_eq!(send(&large, &patience).await.unwrap().verdict, Verdict::Reached, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_time_out_and_many_cost_little_time() {
    let cable = ready_cable().await;
    let _servers = serve(&cable.server, "shop/web", &sockets(80)).await.unwrap();
    run(
        &cable.server,
        &["nft", "-f", "-"],
        "table inet t {\n chain c {\n type filter hook input priority 0;\n icmp type echo-request drop\n \
         icmpv6 type echo-request drop\n tcp dport 80 drop\n udp dport 80 drop\n }\n}\n",
    )
    .unwrap();
    let mut probes = Vec::new();
    for address in SERVER {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
            probes.extend(vec![Probe::new(&cable.client, address.parse().unwrap(), protocol, 80); 50]);
        }
    }
    let start = Instant::now();
    for (reply, probe) in send_all(&probes, &patience()).await.into_iter().zip(&probes) {
        assert_eq!(reply.unwrap().verdict, Verdict::TimedOut, "{} {}", probe.to, probe.protocol);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "300 silent probes took {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_server_is_not_the_right_one() {
    let cable = ready_cable().await;
    let _servers = serve(&cable.server, "shop/impostor", &sockets(80)).await.unwrap();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let probe = Probe::new(&cable.client, SERVER[0].parse().unwrap(), protocol, 80).owned_by("shop/web");
        let error = format!("{:#}", send(&probe, &patience()).await.unwrap_err());
        assert!(error.contains("shop/impostor answered instead of shop/web"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_the_family_times_out() {
    let cable = cable();
    ip(&cable.client, &["address flush dev eth0 scope global".to_owned()]).unwrap();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        let probe = Probe::new(&cable.client, "203.0.113.9".parse().unwrap(), protocol, 80);
        assert_eq!(send(&probe, &patience()).await.unwrap().verdict, Verdict::TimedOut, "{protocol}");
    }
}
