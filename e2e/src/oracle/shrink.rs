//! From a failing case to a small one: policies and rules are left out as long as the difference stays.

use anyhow::Result;
use policy::evaluate;

use super::draw::Drawn;
use super::question::Question;
use super::system::Agents;
use super::world::World;
use super::{cluster_of, compare, write_policies, yaml};
use crate::lab::Lab;

/// The smallest set of policies that still makes the difference.
pub async fn smallest(lab: &mut Lab, world: &World, drawn: &Drawn, question: &Question) -> Result<Drawn> {
    let mut small = drawn.clone();
    let mut index = 0;
    while index < small.policies.len() {
        let mut candidate = small.clone();
        candidate.policies.remove(index);
        if differs(lab, world, &candidate, question).await? {
            small = candidate;
        } else {
            index += 1;
        }
    }
    for index in 0..small.policies.len() {
        for ingress in [true, false] {
            small = without_rules(lab, world, small, question, index, ingress).await?;
        }
    }
    write_policies(lab, drawn)?;
    lab.settle().await?;
    Ok(small)
}

async fn without_rules(
    lab: &mut Lab,
    world: &World,
    mut small: Drawn,
    question: &Question,
    index: usize,
    ingress: bool,
) -> Result<Drawn> {
    let mut at = 0;
    loop {
        let mut candidate = small.clone();
        let policy = &mut candidate.policies[index];
        let rules = if ingress { &mut policy.ingress } else { &mut policy.egress };
        let Some(rules) = rules.as_mut().filter(|rules| at < rules.len()) else { return Ok(small) };
        rules.remove(at);
        if differs(lab, world, &candidate, question).await? {
            small = candidate;
        } else {
            at += 1;
        }
    }
}

async fn differs(lab: &mut Lab, world: &World, drawn: &Drawn, question: &Question) -> Result<bool> {
    write_policies(lab, drawn)?;
    lab.settle().await?;
    let Ok(verdict) = evaluate(&cluster_of(drawn, world)?, &question.packet(drawn, world)) else { return Ok(false) };
    let observed = Agents::of(lab).follow(question.entry(drawn), question.request(drawn, world)).await?;
    Ok(compare::difference(&verdict, &observed, question.to).is_some())
}

/// A case as a person can repeat it.
pub fn describe(drawn: &Drawn, question: &Question, world: &World) -> String {
    let policies: Vec<String> = drawn.policies.iter().map(yaml::policy).collect();
    let addresses: Vec<String> = drawn
        .pods
        .iter()
        .enumerate()
        .map(|(index, pod)| {
            format!(
                "# {}/{} on {} {:?} {:?}",
                pod.namespace,
                pod.name,
                pod.node,
                pod.part,
                world.pod_addresses(index, pod)
            )
        })
        .collect();
    format!(
        "{}\n{}---\n{}\npacket: {question:?}",
        addresses.join("\n"),
        yaml::cluster(drawn, world),
        policies.join("---\n")
    )
}
