//! From ADD to DEL, in every version and by every caller; and what a runtime asks of a node as a whole.

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::runtime::Caller;
use super::{Guest, NETWORK, Tally, VERSIONS, World, refused, silent, worked};

pub(super) async fn run(world: &mut World, tally: &mut Tally) -> Result<()> {
    for version in VERSIONS {
        world.speak(version)?;
        for (index, caller) in [Caller::Containerd, Caller::Cnitool].into_iter().enumerate() {
            let title = |what: &str| format!("CNI {version}, {caller:?}: {what}");
            let guest = world.guest()?;
            let added = world.callers[index].add(NETWORK, &guest.sandbox)?;
            tally.case(title("ADD answers with a result of its version"), result(&added.document, version, &guest));
            tally.case(title("the pod has what the result says"), pod_has(&added.document, &guest));
            let checked = world.callers[index].check(NETWORK, &guest.sandbox)?;
            tally.case(title("CHECK right after ADD"), silent(&checked));
            tally.case(title("the agent has the pod in the switch"), in_switch(world, &guest).await);
            let deleted = world.callers[index].delete(NETWORK, &guest.sandbox)?;
            tally.case(title("DEL with the result that was kept"), silent(&deleted));
            tally.case(title("nothing is left"), world.nothing_is_left(&guest).await);
            let again = world.callers[index].delete(NETWORK, &guest.sandbox)?;
            tally.case(title("DEL again, without a result"), silent(&again));
            let previous = [("prevResult", added.document.clone().unwrap_or_default())];
            let checked = world.callers[index].call(NETWORK, "CHECK", Some(&guest.sandbox), &previous)?;
            tally.case(title("CHECK after DEL: unknown container"), refused(&checked, 3, &guest.sandbox.container_id));
            let probed = world.callers[index].version(version)?;
            tally.case(title("VERSION, as the library probes"), versions(&probed.document, version));
        }
        let status = world.containerd().status(NETWORK)?;
        let collected = world.containerd().collect(NETWORK, Some(&[]))?;
        if version == "1.1.0" {
            tally.case("STATUS of a node that is ready", silent(&status));
            tally.case("GC of a node with nothing to collect", silent(&collected));
        } else {
            tally.case(format!("STATUS is not of CNI {version}"), refused(&status, 1, "STATUS"));
            tally.case(format!("GC is not of CNI {version}"), refused(&collected, 1, "GC"));
        }
    }
    wishes(world, tally)?;
    collect(world, tally).await?;
    late(world, tally).await?;
    tally.case("what a runtime does is nobody's drift", no_drift(world).await);
    Ok(())
}

/// Pods came and went by ADD, DEL and GC: the agent has found nothing that somebody else did.
async fn no_drift(world: &World) -> Result<()> {
    let info = world.ask("/v1/info").await?;
    let found = info["drift"].as_object().context("the agent does not say what it has found")?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

fn result(document: &Option<Value>, version: &str, guest: &Guest) -> Result<()> {
    let result = document.as_ref().context("there is none")?;
    ensure!(result["cniVersion"] == version, "cniVersion: {result}");
    let pod = &result["interfaces"][0];
    ensure!(pod["name"] == guest.sandbox.interface && pod["sandbox"] == guest.sandbox.network_namespace, "{pod}");
    ensure!(pod["mtu"].is_number() == (version == "1.1.0"), "an MTU is of CNI 1.1: {pod}");
    let host = &result["interfaces"][1];
    ensure!(host["name"].is_string() && host.get("sandbox").is_none(), "the end on the node: {host}");
    let ips = result["ips"].as_array().context("ips")?;
    ensure!(ips.len() == 2, "one address a family: {ips:?}");
    for (ip, family) in ips.iter().zip(["4", "6"]) {
        ensure!(ip["interface"] == 0 && ip["gateway"].is_string(), "{ip}");
        ensure!(
            ip.get("version") == (version == "0.4.0").then(|| json!(family)).as_ref(),
            "a family is of CNI 0.4: {ip}"
        );
    }
    ensure!(result["routes"].as_array().is_some_and(|routes| routes.len() == 2), "{}", result["routes"]);
    Ok(())
}

fn pod_has(document: &Option<Value>, guest: &Guest) -> Result<()> {
    let result = document.as_ref().context("there is no result")?;
    let text = crate::lab::run(&guest.namespace, &["ip", "-json", "address", "show", "dev", "eth0"], "")?;
    let shown: Value = serde_json::from_str(&text)?;
    ensure!(shown[0]["address"] == result["interfaces"][0]["mac"], "MAC: {}", shown[0]["address"]);
    let held: Vec<String> = shown[0]["addr_info"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|info| info["scope"] == "global")
        .map(|info| format!("{}/{}", info["local"].as_str().unwrap_or_default(), info["prefixlen"]))
        .collect();
    let said: Vec<&str> =
        result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str()).collect();
    ensure!(held == said, "{held:?} is not {said:?}");
    Ok(())
}

async fn in_switch(world: &World, guest: &Guest) -> Result<()> {
    let pods = world.ask("/v1/pods").await?;
    let name = format!("{}/{}", guest.sandbox.pod.0, guest.sandbox.pod.1);
    let pod =
        pods.as_array().into_iter().flatten().find(|pod| pod["pod"] == name.as_str()).context("it is not there")?;
    ensure!(pod["port"].is_number() && pod["ingress"] == "policed" && pod["egress"] == "policed", "{pod}");
    Ok(())
}

fn versions(document: &Option<Value>, version: &str) -> Result<()> {
    let expected = json!({"cniVersion": version, "supportedVersions": VERSIONS});
    ensure!(document.as_ref() == Some(&expected), "{document:?}");
    Ok(())
}

/// What runtimes ask for by capability.
fn wishes(world: &mut World, tally: &mut Tally) -> Result<()> {
    let mut guest = world.guest()?;
    guest.sandbox.capabilities.insert("ips".into(), json!(["10.10.1.77/24", "fd00:10:0:1::77"]));
    guest.sandbox.capabilities.insert("mac".into(), json!("02:00:00:00:00:77"));
    let added = world.containerd().add(NETWORK, &guest.sandbox)?;
    let outcome = added.document.as_ref().map_or_else(String::new, |result| {
        format!("{} {} {}", result["ips"][0]["address"], result["ips"][1]["address"], result["interfaces"][0]["mac"])
    });
    let wanted = r#""10.10.1.77/32" "fd00:10:0:1::77/128" "02:00:00:00:00:77""#;
    let same = if outcome == wanted { Ok(()) } else { Err(anyhow::anyhow!("{outcome}: {}", added.said)) };
    tally.case("the capabilities ips and mac are honoured", same);
    let checked = world.containerd().check(NETWORK, &guest.sandbox)?;
    tally.case("CHECK of a pod with a MAC of its own wish", silent(&checked));
    let mut other = world.guest()?;
    other.sandbox.capabilities = guest.sandbox.capabilities.clone();
    let added = world.containerd().add(NETWORK, &other.sandbox)?;
    let others = added.document.as_ref().is_some_and(|result| {
        let address = result["ips"][0]["address"].as_str().and_then(|text| text.parse::<IpNet>().ok());
        address.is_some_and(|address| address.addr().to_string() != "10.10.1.77")
            && result["interfaces"][0]["mac"] != "02:00:00:00:00:77"
    });
    let given = if others { Ok(()) } else { Err(anyhow::anyhow!("{}", added.said)) };
    tally.case("what another pod has is not given again", given);
    for guest in [&guest, &other] {
        worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)?;
    }
    for (capability, asked, part) in [
        ("portMappings", json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]), "8080"),
        ("bandwidth", json!({"ingressRate": 1_000_000, "ingressBurst": 1}), "1000000"),
    ] {
        let mut guest = world.guest()?;
        guest.sandbox.capabilities.insert(capability.into(), asked);
        let added = world.containerd().add(NETWORK, &guest.sandbox)?;
        tally.case(format!("{capability} is refused with key and value"), refused(&added, 2, part));
    }
    let mut guest = world.guest()?;
    guest.sandbox.capabilities.insert("portMappings".into(), json!([]));
    let added = world.containerd().add(NETWORK, &guest.sandbox)?;
    tally.case("no port mappings are nothing to refuse", worked(&added));
    worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)
}

/// GC takes what the runtime does not list, of its own network only.
async fn collect(world: &mut World, tally: &mut Tally) -> Result<()> {
    let plugin = world.plugin();
    world.containerd().write_list("second", "1.1.0", &plugin)?;
    let (kept, stale, others) = (world.guest()?, world.guest()?, world.guest()?);
    worked(&world.containerd().add(NETWORK, &kept.sandbox)?)?;
    worked(&world.containerd().add(NETWORK, &stale.sandbox)?)?;
    worked(&world.containerd().add("second", &others.sandbox)?)?;
    let collected = world.callers[1].collect(NETWORK, None)?;
    tally.case("GC without a list, as cnitool calls it", silent(&collected));
    let checked = world.containerd().check(NETWORK, &stale.sandbox)?;
    tally.case("GC without a list takes nothing", silent(&checked));
    let collected = world.containerd().collect(NETWORK, Some(&[&kept.sandbox]))?;
    tally.case("GC with a list", silent(&collected));
    tally.case("GC takes what is not listed", world.nothing_is_left(&stale).await);
    let checked = world.containerd().check(NETWORK, &kept.sandbox)?;
    tally.case("GC keeps what is listed", silent(&checked));
    let checked = world.containerd().check("second", &others.sandbox)?;
    tally.case("GC keeps what is another network's", silent(&checked));
    let deleted = world.containerd().delete(NETWORK, &stale.sandbox)?;
    tally.case("DEL of what GC has taken", silent(&deleted));
    worked(&world.containerd().delete(NETWORK, &kept.sandbox)?)?;
    worked(&world.containerd().delete("second", &others.sandbox)?)
}

/// A pod that the controller does not know.
async fn late(world: &mut World, tally: &mut Tally) -> Result<()> {
    let guest = world.guest_named("nobody-knows-me")?;
    let added = world.containerd().add(NETWORK, &guest.sandbox)?;
    tally.case("a pod that the controller does not know is attached after a bounded wait", worked(&added));
    let pods = world.ask("/v1/pods").await?.to_string();
    let warned =
        if pods.contains("the controller did not say within") { Ok(()) } else { Err(anyhow::anyhow!("{pods}")) };
    tally.case("and is shown with a warning", warned);
    let realised = world.ask("/v1/realised").await?;
    let named = realised["failures"].to_string().contains("Pod/shop/nobody-knows-me");
    let named = if named { Ok(()) } else { Err(anyhow::anyhow!("{realised}")) };
    tally.case("and is named in what could not be realised", named);
    worked(&world.containerd().delete(NETWORK, &guest.sandbox)?)?;
    world.nothing_is_left(&guest).await
}
