//! A node on which somebody has been: what the agent has to find and put right at its start.

use anyhow::Result;

use crate::lab::{Namespace, ip, run, run_for_output};

/// What a careless person, or another program, does to a node.
pub fn upset(node: &Namespace) -> Result<()> {
    ip(
        node,
        &["address flush dev gw0", "address add 192.0.2.77/32 dev gw0", "link set gw0 mtu 1300", "link set gw0 down"]
            .map(str::to_owned),
    )?;
    for family in ["-4", "-6"] {
        // What is not there need not go.
        for what in [["rule", "del", "iif", "lo", "table", "100"].as_slice(), &["route", "flush", "table", "100"]] {
            let mut command = vec!["ip", family];
            command.extend(what);
            run_for_output(node, &command, &[], "")?;
        }
    }
    run(node, &["ip", "route", "replace", "198.51.100.0/24", "dev", "lo", "proto", "173"], "")?;
    // Done twice before an agent saw it, the rule is there already.
    run_for_output(node, &["ip", "rule", "add", "from", "198.51.100.7", "table", "99", "protocol", "173"], &[], "")?;
    node.set_parameter("net/ipv4/ip_forward", "0")?;
    node.set_parameter("net/ipv4/conf/gw0/rp_filter", "1")
}
