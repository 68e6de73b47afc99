//! The oracle: draws clusters, policies and packets, and holds what the system does against what policies mean.
//!
//! The system is the real thing: YAML text in the controller's directory, its stream to the agents, their plans, flows in real
//! switches. The evaluator (crate `policy`) gets the same cluster as raw objects. Nothing but those objects is shared.
//!
//! A round: draw a cluster, attach its pods through the CNI plugin; then several times draw policies, let the nodes realise them,
//! and ask about a hundred packets. Candidates are drawn in fours and the rarest kind is asked, so that every class and every
//! construct gets its share.

mod compare;
mod draw;
mod objects;
mod question;
pub(crate) mod random;
mod sent;
mod shrink;
mod system;
mod tally;
mod world;
mod yaml;

use anyhow::{Context, Result, bail};
use apis::kubernetes::Object;
use policy::{Cluster, Verdict, decisive, evaluate};
use serde_json::{Value, json};

use crate::cluster;
use crate::lab::{Datapath, Lab, Options, PodPlan};
use crate::probe::Patience;
use draw::{Drawn, NODES, Part};
use question::Question;
use random::Random;
use system::Agents;
use tally::{Tally, Weight};
use world::World;

/// Packets asked about a set of policies.
const QUESTIONS: usize = 100;
/// Sets of policies a cluster.
const SETS: usize = 5;
/// Pods of a cluster.
const PODS: usize = 16;
/// The verdicts of a full run, which must meet every class and construct often enough.
const FULL: usize = 20_000;
/// Candidates among which the rarest is asked.
const CANDIDATES: usize = 4;
/// One question in so many goes as a real packet too.
const SENT: usize = 80;

/// What a run is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// How many verdicts to compare.
    #[arg(long, default_value_t = 20_000)]
    pub verdicts: usize,
    /// What to draw from; drawn itself, and said, when not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop at the first difference, and do not look for the smallest case.
    #[arg(long)]
    pub quick: bool,
}

/// A difference between the system and the meaning of policies.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What is different, in words.
    pub what: String,
    /// The case, small, as YAML and a packet.
    pub case: String,
}

/// Runs the oracle; the answer is the last line's object, with `differences` in it.
///
/// # Errors
/// When the lab cannot be brought up, or a node does not answer.
pub async fn run(arguments: &Arguments, options: &Options) -> Result<Value> {
    let datapath = options.datapath;
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed);
    eprintln!("oracle: seed {seed}, {} verdicts on {datapath}", arguments.verdicts);
    let mut run = Run::up(seed, options.clone()).await?;
    while run.tally.verdicts() < arguments.verdicts
        && (run.differences.is_empty() || !arguments.quick)
        && run.differences.len() < 5
    {
        run.round(arguments).await.with_context(|| format!("seed {seed}"))?;
        eprintln!(
            "oracle: {} verdicts, {} sent, {} differences",
            run.tally.verdicts(),
            run.sent,
            run.differences.len()
        );
    }
    Ok(run.finish(seed, datapath, arguments))
}

struct Run {
    random: Random,
    lab: Lab,
    world: World,
    tally: Tally,
    sent: usize,
    rounds: usize,
    differences: Vec<Difference>,
}

/// A set of policies, realised, and what is asked about it.
struct Stage<'a> {
    drawn: &'a Drawn,
    cluster: Cluster,
}

impl Run {
    async fn up(seed: u64, options: Options) -> Result<Self> {
        let empty = cluster::complete(cluster::read_texts(Vec::new()));
        let world = World::of(&empty.nodes)?;
        let lab = Lab::up(options, empty.nodes, &empty.files).await?;
        Ok(Self {
            random: Random::new(seed),
            lab,
            world,
            tally: Tally::default(),
            sent: 0,
            rounds: 0,
            differences: Vec::new(),
        })
    }

    /// One cluster, several sets of policies.
    async fn round(&mut self, arguments: &Arguments) -> Result<()> {
        let mut random = self.random.fork();
        let mut drawn = draw::cluster(&mut random, PODS);
        self.rounds += 1;
        self.lab.source().write("cluster.yaml", &yaml::cluster(&drawn, &self.world))?;
        self.lab.attach(drawn.pods.iter().filter(|pod| pod.part == Part::Pod).map(plan).collect()).await?;
        self.world.learn(&drawn, &self.lab);
        let servers = sent::serve(&drawn, &self.world, &self.lab).await?;
        for _ in 0..SETS {
            if self.tally.verdicts() >= arguments.verdicts || (arguments.quick && !self.differences.is_empty()) {
                break;
            }
            let count = random.between(3, 10);
            drawn.policies = draw::policies(&mut random, &drawn, count);
            self.realise(&drawn).await?;
            self.ask_about(&drawn, &mut random, arguments).await?;
        }
        drop(servers);
        for key in self.lab.pods().keys().cloned().collect::<Vec<_>>() {
            self.lab.detach(&key)?;
        }
        Ok(())
    }

    /// Writes the policies, a file each, removes those of before, and waits until every node obeys.
    async fn realise(&mut self, drawn: &Drawn) -> Result<()> {
        write_policies(&self.lab, drawn)?;
        self.lab.settle().await.map(drop)
    }

    async fn ask_about(&mut self, drawn: &Drawn, random: &mut Random, arguments: &Arguments) -> Result<()> {
        let stage = Stage { drawn, cluster: cluster_of(drawn, &self.world)? };
        let agents = Agents::of(&self.lab);
        let wanted = QUESTIONS.min(arguments.verdicts - self.tally.verdicts());
        let (mut to_send, mut failing) = (Vec::new(), Vec::new());
        for _ in 0..wanted {
            let Some((question, verdict)) = self.choose(&stage, random)? else { continue };
            if question.is_to_itself() {
                to_send.push((question, verdict));
                continue;
            }
            let observed = agents.follow(question.entry(drawn), question.request(drawn, &self.world)).await?;
            if let Some(what) = compare::difference(&verdict, &observed, question.to) {
                failing.push((question.clone(), format!("{what}\n  expected {verdict}\n  observed {observed}")));
            }
            if sent::can_be_sent(&question) && random.below(SENT) == 0 {
                to_send.push((question, verdict));
            }
        }
        let patience = Patience::new(self.lab.pace());
        self.sent += to_send.len();
        for (index, what) in sent::send(&to_send, drawn, &self.world, &self.lab, &patience).await? {
            self.differences.push(Difference { what, case: shrink::describe(drawn, &to_send[index].0, &self.world) });
        }
        if let Some((question, what)) = failing.into_iter().next() {
            let small = if arguments.quick {
                drawn.clone()
            } else {
                shrink::smallest(&mut self.lab, &self.world, drawn, &question).await?
            };
            let difference = Difference { what, case: shrink::describe(&small, &question, &self.world) };
            eprintln!("oracle: DIFFERENCE\n{}\n{}", difference.what, difference.case);
            self.differences.push(difference);
        }
        Ok(())
    }

    /// Draws a few packets and takes the one of the rarest kind.
    fn choose(&mut self, stage: &Stage<'_>, random: &mut Random) -> Result<Option<(Question, Verdict)>> {
        let mut best: Option<(usize, Question, Verdict, Weight)> = None;
        for _ in 0..CANDIDATES {
            let question = question::draw(random, stage.drawn, &self.world);
            let packet = question.packet(stage.drawn, &self.world);
            if question.is_to_itself() && !sent::can_be_sent(&question) {
                continue;
            }
            let Ok(verdict) = evaluate(&stage.cluster, &packet) else { continue };
            let Ok(constructs) = decisive(&stage.cluster, &packet) else { continue };
            let weight = Weight::of(&verdict, &constructs, question.crosses(stage.drawn), question.ipv6);
            let gain = self.tally.gain(&weight);
            if best.as_ref().is_none_or(|(most, ..)| gain > *most) {
                best = Some((gain, question, verdict, weight));
            }
        }
        let Some((_, question, verdict, weight)) = best else { return Ok(None) };
        self.tally.count(&weight);
        Ok(Some((question, verdict)))
    }

    fn finish(self, seed: u64, datapath: Datapath, arguments: &Arguments) -> Value {
        for difference in &self.differences {
            eprintln!("oracle: {}\n{}", difference.what, difference.case);
        }
        // What a run covers is promised for a full one; a short one is only compared.
        let full = arguments.verdicts >= FULL && !arguments.quick;
        let shortfalls = if full { self.tally.shortfalls() } else { Vec::new() };
        for shortfall in &shortfalls {
            eprintln!("oracle: {shortfall}");
        }
        let mut figures = self.tally.figures();
        figures["seed"] = json!(seed);
        figures["datapath"] = json!(datapath.to_string());
        figures["skipped"] = json!(0);
        figures["differences"] = json!(self.differences.len());
        figures["sent"] = json!(self.sent);
        figures["clusters"] = json!(self.rounds);
        figures["shortfalls"] = json!(shortfalls.len());
        figures["left_behind"] = json!(self.lab.down().len());
        figures
    }
}

/// What the lab has to attach.
fn plan(pod: &draw::Pod) -> PodPlan {
    PodPlan::new(pod.namespace, pod.name.clone(), pod.node)
}

fn policy_file(policy: &draw::Policy) -> String {
    format!("policies/{}.yaml", policy.name)
}

/// Makes the directory hold exactly the policies of a cluster.
fn write_policies(lab: &Lab, drawn: &Drawn) -> Result<()> {
    let wanted: Vec<String> = drawn.policies.iter().map(policy_file).collect();
    if let Ok(entries) = std::fs::read_dir(lab.source().folder().join("policies")) {
        for entry in entries {
            let file = format!("policies/{}", entry?.file_name().to_string_lossy());
            if !wanted.contains(&file) {
                lab.source().remove(&file)?;
            }
        }
    }
    for policy in &drawn.policies {
        lab.source().write(&policy_file(policy), &yaml::policy(policy))?;
    }
    Ok(())
}

/// The cluster as the evaluator takes it.
fn cluster_of(drawn: &Drawn, world: &World) -> Result<Cluster> {
    let index_of = |pod: &draw::Pod| drawn.pods.iter().position(|other| std::ptr::eq(other, pod)).unwrap_or(usize::MAX);
    let mut values = objects::cluster(drawn, |pod| world.pod_addresses(index_of(pod), pod));
    for name in NODES {
        let addresses: Vec<Value> = [false, true]
            .map(|ipv6| json!({"type": "InternalIP", "address": world.node(name, ipv6).to_string()}))
            .to_vec();
        values.push(
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": addresses}}),
        );
    }
    values.into_iter().map(|value| object(&value).with_context(|| format!("the oracle's own object {value}"))).collect()
}

fn object(value: &Value) -> Result<Object> {
    let typed = value.clone();
    Ok(match value["kind"].as_str() {
        Some("Namespace") => Object::Namespace(serde_json::from_value(typed)?),
        Some("Node") => Object::Node(serde_json::from_value(typed)?),
        Some("Pod") => Object::Pod(serde_json::from_value(typed)?),
        Some("NetworkPolicy") => Object::NetworkPolicy(serde_json::from_value(typed)?),
        kind => bail!("the oracle wrote an object of kind {kind:?}"),
    })
}
