//! The fields of a NetworkPolicy's `spec`.

use super::super::{
    IntOrString, IpBlock, LabelSelector, LabelSelectorRequirement, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use super::{Findings, syntax};

pub(super) fn spec(spec: &NetworkPolicySpec, findings: &mut Findings) {
    if let Some(selector) = &spec.pod_selector {
        label_selector(selector, "spec.podSelector", findings);
    }
    for (index, rule) in spec.ingress.iter().enumerate() {
        let path = format!("spec.ingress[{index}]");
        ports(&rule.ports, &path, findings);
        peers(&rule.from, &format!("{path}.from"), findings);
    }
    for (index, rule) in spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{index}]");
        ports(&rule.ports, &path, findings);
        peers(&rule.to, &format!("{path}.to"), findings);
    }
    for (index, policy_type) in spec.policy_types.iter().enumerate() {
        if !matches!(policy_type.as_str(), "Ingress" | "Egress") {
            let what = format!("is not a policy type: {policy_type:?}");
            findings.add(format!("spec.policyTypes[{index}]"), what, "write Ingress or Egress");
        }
    }
    if spec.policy_types.len() > 2 {
        findings.add("spec.policyTypes", "has more than two entries", "write each of Ingress and Egress at most once");
    }
}

fn ports(ports: &[NetworkPolicyPort], path: &str, findings: &mut Findings) {
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        if let Some(protocol) = &port.protocol {
            findings.check(format!("{path}.protocol"), syntax::protocol(protocol));
        }
        let first = match &port.port {
            Some(IntOrString::Int(number)) => findings.check(format!("{path}.port"), syntax::port_number(*number)),
            Some(IntOrString::String(name)) => {
                findings.check(format!("{path}.port"), syntax::port_name(name));
                None
            }
            None => None,
        };
        if let Some(end) = port.end_port {
            end_port(end, port.port.as_ref(), first, &format!("{path}.endPort"), findings);
        }
    }
}

fn end_port(end: i32, port: Option<&IntOrString>, first: Option<u16>, path: &str, findings: &mut Findings) {
    match port {
        None => findings.add(path, "is there without port", "write the first port of the range in port"),
        Some(IntOrString::String(name)) => {
            findings.add(path, format!("is there with a named port ({name})"), "a range needs a numeric port");
        }
        Some(IntOrString::Int(_)) => {
            let end = findings.check(path, syntax::port_number(end));
            if let (Some(first), Some(end)) = (first, end)
                && end < first
            {
                findings.add(path, format!("is {end}, less than port {first}"), "write the last port of the range");
            }
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], path: &str, findings: &mut Findings) {
    for (index, peer) in peers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        match (&peer.ip_block, selects) {
            (None, false) => {
                let advice = "write podSelector, namespaceSelector or ipBlock; for everyone leave the whole list out";
                findings.add(&*path, "names no peer", advice);
            }
            (Some(_), true) => {
                findings.add(format!("{path}.ipBlock"), "stands beside a selector", "make them two peers of the list");
            }
            _ => {}
        }
        if let Some(selector) = &peer.pod_selector {
            label_selector(selector, &format!("{path}.podSelector"), findings);
        }
        if let Some(selector) = &peer.namespace_selector {
            label_selector(selector, &format!("{path}.namespaceSelector"), findings);
        }
        if let Some(block) = &peer.ip_block {
            ip_block(block, &format!("{path}.ipBlock"), findings);
        }
    }
}

fn ip_block(block: &IpBlock, path: &str, findings: &mut Findings) {
    let whole = findings.check(format!("{path}.cidr"), syntax::parse_cidr(&block.cidr));
    for (index, except) in block.except.iter().enumerate() {
        let path = format!("{path}.except[{index}]");
        let part = findings.check(&*path, syntax::parse_cidr(except));
        if let (Some(whole), Some(part)) = (whole, part)
            && (!whole.contains(&part) || whole == part)
        {
            let what = format!("is {except}, which is not a smaller part of {}", block.cidr);
            findings.add(path, what, "leave out only ranges that lie inside cidr");
        }
    }
}

fn label_selector(selector: &LabelSelector, path: &str, findings: &mut Findings) {
    for (key, value) in &selector.match_labels {
        let path = format!("{path}.matchLabels[{}]", syntax::shown(key));
        findings.check(&*path, syntax::label_key(key));
        findings.check(path, syntax::label_value(value));
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        expression(requirement, &format!("{path}.matchExpressions[{index}]"), findings);
    }
}

fn expression(requirement: &LabelSelectorRequirement, path: &str, findings: &mut Findings) {
    findings.check(format!("{path}.key"), syntax::label_key(&requirement.key));
    match (requirement.operator.as_str(), requirement.values.is_empty()) {
        ("In" | "NotIn", true) => {
            findings.add(format!("{path}.values"), "is empty or missing", "In and NotIn need at least one value");
        }
        ("Exists" | "DoesNotExist", false) => {
            findings.add(format!("{path}.values"), "is not empty", "Exists and DoesNotExist take no values");
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
        (operator, _) => {
            let what = format!("is not an operator: {operator:?}");
            findings.add(format!("{path}.operator"), what, "write In, NotIn, Exists or DoesNotExist");
        }
    }
    for (index, value) in requirement.values.iter().enumerate() {
        findings.check(format!("{path}.values[{index}]"), syntax::label_value(value));
    }
}
