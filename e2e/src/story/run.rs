//! Telling a story: its steps, one after the other, on a lab of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;

use super::antctl;
use super::step::{ControllerStep, ForgeLine, ProbeLine, Seen, Size, Step, Story};
use crate::cluster::{complete, read_texts};
use crate::lab::{DebugVerdict, Options, PodPlan, run};
use crate::probe::{Conversation, Forged, Forgery, Protocol, Verdict, send_forged};
use crate::stage::{Place, Question, Stage};

/// A connection that policy allows again speaks again at its next retransmission, which has been put off while it was silent.
const REVIVAL: Duration = Duration::from_secs(5);
/// How long what must happen eventually may take.
const EVENTUALLY: Duration = Duration::from_secs(10);
/// How soon a stream that policy no longer allows must be silent: the promise for traffic where only replies flow.
const SILENCE_WITHIN: Duration = Duration::from_secs(1);
/// No answer for this long ends a stream: many times its interval.
const QUIET: Duration = Duration::from_millis(200);
/// The source port of forged packets.
const FORGED_PORT: u16 = 4321;

/// What came of one telling.
#[derive(Debug)]
pub struct Telling {
    /// Lines that were not as written: line, what was expected, what was seen. Empty is right.
    pub differences: Vec<String>,
    /// Where something differs: the end of the daemons' logs.
    pub last_words: String,
    /// What the lab left behind.
    pub left_behind: Vec<String>,
    /// How many packets, exchanges and listenings were judged.
    pub judged: usize,
}

/// What came of a story.
#[derive(Debug)]
pub struct Outcome {
    /// The story as it is.
    pub plain: Telling,
    /// The debug verdicts under which it passes all the same.
    pub insensitive_to: Vec<DebugVerdict>,
    /// How long each telling took: as it is, allowing all, dropping all.
    pub took: Vec<Duration>,
}

/// Tells a story as it is, and, when it is about policy, on pipelines without policy, where it must fail.
pub async fn tell_thrice(story: &Story, options: &Options) -> Result<Outcome> {
    let start = Instant::now();
    let plain = tell(story, options.clone(), false).await?;
    let mut took = vec![start.elapsed()];
    let mut insensitive_to = Vec::new();
    if story.not_about_policy.is_none() && plain.differences.is_empty() {
        for verdict in [DebugVerdict::AllowAll, DebugVerdict::DropAll] {
            let start = Instant::now();
            let debug = Options { debug_verdict: Some(verdict), ..options.clone() };
            if tell(story, debug, true).await?.differences.is_empty() {
                insensitive_to.push(verdict);
            }
            took.push(start.elapsed());
        }
    }
    Ok(Outcome { plain, insensitive_to, took })
}

/// Tells a story once, as it is.
pub async fn tell_once(story: &Story, options: &Options) -> Result<Outcome> {
    let start = Instant::now();
    let plain = tell(story, options.clone(), false).await?;
    Ok(Outcome { plain, insensitive_to: Vec::new(), took: vec![start.elapsed()] })
}

/// Tells a story once. With `stop_early` the first difference ends it: one is enough to know.
pub async fn tell(story: &Story, options: Options, stop_early: bool) -> Result<Telling> {
    let cluster = complete(read_texts(story.files.clone()));
    ensure!(cluster.invalid.is_empty(), "the story's cluster is refused: {}", cluster.invalid.join("; "));
    let tunnel = story.tunnel.clone().or(options.tunnel);
    let certificate_lifetime = story.certificates;
    let options = Options { tunnel, controllers: story.controllers, certificate_lifetime, ..options };
    let mut stage = Stage::set(options, cluster, &|_| {}).await?;
    for (place, protocol, port) in &story.servers {
        let place = stage.place(place)?;
        stage.serve(&place, &[(*protocol, *port)]).await?;
    }
    let mut teller = Teller { stage, conversations: BTreeMap::new(), differences: Vec::new(), judged: 0 };
    for (line, step) in &story.steps {
        teller.step(*line, step).await.with_context(|| format!("story {}, line {line}", story.name))?;
        if stop_early && !teller.differences.is_empty() {
            break;
        }
    }
    let Teller { mut stage, conversations, differences, judged } = teller;
    let last_words = if differences.is_empty() { String::new() } else { stage.lab().last_words() };
    drop(conversations);
    Ok(Telling { differences, last_words, left_behind: stage.strike(), judged })
}

struct Teller {
    stage: Stage,
    /// One a family.
    conversations: BTreeMap<String, Vec<Conversation>>,
    differences: Vec<String>,
    judged: usize,
}

impl Teller {
    async fn step(&mut self, line: usize, step: &Step) -> Result<()> {
        match step {
            Step::Apply { file, text } => self.stage.apply(|source| source.write(file, text)).await,
            Step::Remove(file) => self.stage.apply(|source| source.remove(file)).await,
            Step::Rename(from, to) => self.stage.apply(|source| source.rename(from, to)).await,
            Step::Attach { file, text, watched_by } => self.attach(line, file, text, watched_by).await,
            Step::Detach(pod) => self.stage.detach(pod),
            Step::RestartAgent(node) => self.stage.lab().restart_agent(node).await,
            Step::RestartSwitch { node, senders, target } => {
                let arrived = self.stage.restart_switch_under_fire(node, senders, target).await?;
                self.judge(line, &format!("packets that reached {target} meanwhile"), "0", &arrived.to_string());
                Ok(())
            }
            Step::RestartController(index) => self.stage.lab().restart_controller(*index).await,
            Step::Controller(what, index) => self.controller(*what, *index),
            Step::Part(node, controller) => self.stage.lab().part(node, *controller),
            Step::Rejoin(node, controller) => self.stage.lab().rejoin(node, *controller),
            Step::Estrange(node) => self.stage.lab().estrange(node).await,
            Step::Renewed => self.stage.lab().wait_for_renewal(),
            Step::Certify(node) => self.stage.lab().welcome(node).await,
            Step::Neighbour(pod) => self.neighbour(pod).await,
            Step::Probe(probes) => self.probe(probes).await,
            Step::Eventually(probes) => self.eventually(probes).await,
            Step::Open { name, from, to, protocol, port } => self.open(name, from, to, *protocol, *port).await,
            Step::Exchange(name, verdict) => self.exchange(line, name, *verdict).await,
            Step::Stream(name) => {
                for conversation in self.conversations(name)? {
                    conversation.start_stream().await?;
                }
                Ok(())
            }
            Step::Streaming(name, wanted) => self.streaming(line, name, *wanted).await,
            Step::Forge(forged) => self.forge(forged).await,
            Step::Antctl { node, arguments, says } => self.antctl(node, arguments, says).await,
        }
    }

    async fn antctl(&mut self, node: &str, arguments: &[String], says: &[(usize, String)]) -> Result<()> {
        let printed = antctl::ask(&mut self.stage, node, arguments).await?;
        for (line, wanted) in says {
            self.judged += 1;
            if !printed.iter().any(|found| found.contains(wanted)) {
                self.differences.push(format!("line {line}: no line with `{wanted}` in:\n{}", printed.join("\n")));
            }
        }
        Ok(())
    }

    fn controller(&mut self, what: ControllerStep, index: usize) -> Result<()> {
        let lab = self.stage.lab();
        match what {
            ControllerStep::Start => {
                lab.start_controller(index)?;
                lab.wait_for_daemons()
            }
            ControllerStep::Stop => lab.stop_controller(index),
            ControllerStep::Pause => lab.pause_controller(index),
            ControllerStep::Resume => lab.resume_controller(index),
        }
    }

    fn judge(&mut self, line: usize, what: &str, expected: &str, seen: &str) {
        self.judged += 1;
        if expected != seen {
            self.differences.push(format!("line {line}: {what}: expected {expected}, seen {seen}"));
        }
    }

    async fn probe(&mut self, lines: &[(usize, ProbeLine)]) -> Result<()> {
        let mut asked = Vec::new();
        let mut questions = Vec::new();
        for (number, line) in lines {
            for ipv6 in line.ipv6.map_or(vec![false, true], |ipv6| vec![ipv6]) {
                questions.push(self.question(line, ipv6).with_context(|| format!("line {number}"))?);
                asked.push((*number, line));
            }
        }
        for (((number, line), question), answer) in
            asked.iter().zip(&questions).zip(self.stage.ask(&questions, false).await)
        {
            let what = described(question);
            let reply = match answer {
                Ok(answer) => answer.reply,
                Err(error) => {
                    self.judge(*number, &what, &line.verdict.to_string(), &format!("{error:#}"));
                    continue;
                }
            };
            self.judge(*number, &what, &line.verdict.to_string(), &reply.verdict.to_string());
            if let (Some(place), Verdict::Reached) = (&line.seen_as, reply.verdict) {
                let place = self.stage.place(place)?;
                let expected = self.stage.address(&place, question.ipv6)?.to_string();
                let seen = reply.seen_as.map_or("nobody".to_owned(), |address| address.to_string());
                self.judge(*number, &format!("{what} as the server sees it"), &expected, &seen);
            }
            if let Some(by) = &line.by {
                let seen = self.stage.decided_by(question).await?;
                self.judge(*number, &format!("who decides about {what}"), &by.join("; "), &seen.join("; "));
            }
        }
        Ok(())
    }

    async fn eventually(&mut self, lines: &[(usize, ProbeLine)]) -> Result<()> {
        let limit = self.stage.lab().pace().allow(EVENTUALLY);
        let start = Instant::now();
        loop {
            let (judged, different) = (self.judged, self.differences.len());
            self.probe(lines).await?;
            if self.differences.len() == different || start.elapsed() > limit {
                return Ok(());
            }
            self.judged = judged;
            self.differences.truncate(different);
        }
    }

    fn question(&mut self, line: &ProbeLine, ipv6: bool) -> Result<Question> {
        let (from, to) = (self.stage.place(&line.from)?, self.stage.place(&line.to)?);
        let size = match line.size {
            Size::Small => 0,
            Size::Bytes(bytes) => bytes,
            Size::Full => full_size(self.stage.mtu(&from)?, line.protocol, ipv6),
        };
        Ok(Question { from, to, protocol: line.protocol, port: line.port, ipv6, size })
    }

    async fn open(&mut self, name: &str, from: &str, to: &str, protocol: Protocol, port: u16) -> Result<()> {
        let (from, to) = (self.stage.place(from)?, self.stage.place(to)?);
        let mut opened = Vec::new();
        for ipv6 in [false, true] {
            let question = Question { from: from.clone(), to: to.clone(), protocol, port, ipv6, size: 0 };
            let probe =
                self.stage.probe(&question)?.with_context(|| format!("{} has no addresses", described(&question)))?;
            match Conversation::open(&probe, self.stage.patience()).await {
                Ok(conversation) => opened.push(conversation),
                Err(error) => self.differences.push(format!("opening {name} ({}): {error:#}", described(&question))),
            }
        }
        self.conversations.entry(name.to_owned()).or_default().extend(opened);
        Ok(())
    }

    fn conversations(&mut self, name: &str) -> Result<&mut Vec<Conversation>> {
        self.conversations.get_mut(name).with_context(|| format!("no conversation {name} is open"))
    }

    async fn exchange(&mut self, line: usize, name: &str, expected: Verdict) -> Result<()> {
        let limit = match expected {
            Verdict::Reached => self.stage.lab().pace().allow(REVIVAL),
            _ => self.stage.patience().limit(),
        };
        let exchanges = self.conversations(name)?.iter_mut().map(|conversation| conversation.exchange(limit));
        let seen = try_join_all(exchanges).await?;
        for verdict in seen {
            self.judge(line, &format!("an exchange of {name}"), &expected.to_string(), &verdict.to_string());
        }
        Ok(())
    }

    async fn streaming(&mut self, line: usize, name: &str, wanted: bool) -> Result<()> {
        // One that must go on is heard for a while; one that must end has until then to do so.
        let limit = self.stage.lab().pace().allow(SILENCE_WITHIN);
        // All at once: the time runs for each from the change on.
        let quiet = self.stage.lab().pace().allow(QUIET);
        let conversations = self.conversations(name)?.iter_mut();
        let seen = if wanted {
            try_join_all(conversations.map(|conversation| conversation.goes_on(limit))).await?
        } else {
            try_join_all(conversations.map(|conversation| conversation.is_heard_after(limit, quiet))).await?
        };
        let word = |streaming: bool| if streaming { "streaming" } else { "silent" };
        for streaming in seen {
            self.judge(line, &format!("stream {name}"), word(wanted), word(streaming));
        }
        Ok(())
    }

    async fn forge(&mut self, lines: &[(usize, ForgeLine)]) -> Result<()> {
        for (number, line) in lines {
            for ipv6 in [false, true] {
                let (from, to) = (self.stage.place(&line.from)?, self.stage.place(&line.to)?);
                let source = line.source.as_deref().map_or(Ok(from.clone()), |source| self.stage.place(source))?;
                if self.stage.addresses(&source)?.iter().all(|address| address.is_ipv6() != ipv6) {
                    continue; // an address of the other family was named
                }
                let port = if line.forgery == Forgery::Datagram { FORGED_PORT } else { FORGED_PORT + 1 };
                let forged = Forged {
                    forgery: line.forgery,
                    source: (self.stage.address(&source, ipv6)?, port).into(),
                    destination: (self.stage.address(&to, ipv6)?, line.port).into(),
                };
                let limit = self.stage.patience().limit();
                let seen =
                    send_forged(self.stage.namespace(&from)?, self.stage.namespace(&to)?, &forged, limit).await?;
                let seen = if seen { Seen::Seen } else { Seen::Unseen };
                self.judge(*number, &format!("{forged:?}"), &format!("{:?}", line.seen), &format!("{seen:?}"));
            }
        }
        Ok(())
    }

    async fn attach(&mut self, line: usize, file: &str, text: &str, watched_by: &[String]) -> Result<()> {
        let cluster = complete(read_texts(vec![(file.to_owned(), text.to_owned())]));
        ensure!(cluster.invalid.is_empty(), "the pods are refused: {}", cluster.invalid.join("; "));
        self.stage.apply(|source| source.write(file, text)).await?;
        let pods: Vec<PodPlan> = cluster.pods;
        if watched_by.is_empty() {
            self.stage.attach(pods).await?;
            return self.stage.lab().settle().await.map(drop);
        }
        for pod in pods {
            let arrived = self.stage.attach_under_fire(pod.clone(), watched_by).await?;
            self.judge(
                line,
                &format!("packets that reached {} while it started", pod.key()),
                "0",
                &arrived.to_string(),
            );
        }
        self.stage.lab().settle().await.map(drop)
    }

    /// Points a pod's neighbour entries for its gateways at the MAC of the node's end of its own cable.
    async fn neighbour(&mut self, pod: &str) -> Result<()> {
        let place = self.stage.place(pod)?;
        let Place::Pod(_) = place else { bail!("{pod} is no pod") };
        let mac = self.stage.host_end_mac(&place).await?;
        let namespace = self.stage.namespace(&place)?.clone();
        let text = run(&namespace, &["ip", "neigh", "show"], "")?;
        for entry in text.lines() {
            let gateway = entry.split_whitespace().next().context("ip neigh prints addresses first")?;
            run(
                &namespace,
                &["ip", "neigh", "replace", gateway, "lladdr", &mac, "dev", "eth0", "nud", "permanent"],
                "",
            )?;
        }
        ensure!(!text.trim().is_empty(), "{pod} has no neighbours");
        Ok(())
    }
}

fn described(question: &Question) -> String {
    let Question { from, to, protocol, port, ipv6, .. } = question;
    let family = if *ipv6 { "IPv6" } else { "IPv4" };
    format!("{from} -> {to} {protocol} {port} {family}")
}

/// The payload of the largest packet of this MTU; for TCP a text of many segments.
fn full_size(mtu: usize, protocol: Protocol, ipv6: bool) -> usize {
    let header = if ipv6 { 40 } else { 20 };
    match protocol {
        Protocol::Tcp => mtu * 50,
        Protocol::Udp => mtu - header - 8,
        Protocol::Icmp | Protocol::Sctp => mtu - header,
    }
}
