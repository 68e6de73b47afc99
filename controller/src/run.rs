//! The wiring, and the one loop. Nothing is decided here.
//!
//! ```text
//!  source directory ─► watch::directory (a thread) ─┐
//!  agents ◄─gRPC─► publish::ControlService ─────────┼─► Event ─► state ─► plan ─► publish ─► agents
//!     ▲ TLS: serve::secure                          │
//!     ▼                                              │
//!  people ◄─HTTP─► serve ───────────────────────────┘              └────────► answers ─► serve
//! ```
//!
//! Whatever arrived while the loop was busy is taken in before it plans once.

#[cfg(fuzzing)]
pub mod fuzzing;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use certificates::{Acceptor, Authority, CertificateError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::{error, info, warn};

use crate::config::{Access, Config};
use crate::event::{AgentEvent, Event, SessionId};
use crate::lease::{self, Lease};
use crate::metrics::Metrics;
use crate::object::NodeName;
use crate::plan::Plan;
use crate::publish::{Admission, ControlService, Publish};
use crate::serve::{Answers, Query, secure};
use crate::state::{Changed, PodReport, State};
use crate::watch::directory;

/// How many events may wait; a source's event holds up to a thousand objects.
const INBOX: usize = 32;

/// Between two Heads to an agent; what waits for time is looked at as often.
const TICK: Duration = Duration::from_millis(100);

/// Connections that have shown a certificate and have not been taken up.
const ADMITTED: usize = 64;

/// How long the first frames wait for nodes of which agents have seen more than is known here.
const AWAITED: Duration = Duration::from_secs(5);

/// Why the controller cannot start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The gRPC socket.
    #[error("--listen {address}: {what}; name an address of this host and a port that is free")]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system says.
        what: String,
    },
    /// The CA, or the controller's own certificate.
    #[error("--certificates: {0}")]
    Certificates(#[from] CertificateError),
    /// The query socket.
    #[error("--serve {}: {source}; name a path in a folder that exists, where no other controller listens", path.display())]
    Serve {
        /// As configured.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The socket for metrics.
    #[error("--metrics {address}: {source}; name an address of this host and a port that is free")]
    Metrics {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The lease.
    #[error("--status {}: its lease cannot be kept: {source}; raise the limits on threads and open files", path.display())]
    Lease {
        /// The status directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The source.
    #[error(transparent)]
    Source(#[from] directory::StartError),
}

/// Runs until the process is told to stop.
pub async fn run(config: Config) -> Result<(), RunError> {
    let (events, inbox) = mpsc::channel(INBOX);
    let admission = admission(&config)?;
    let wrong = |error: std::io::Error| RunError::Listen { address: config.listen, what: error.to_string() };
    let listener = TcpListener::bind(config.listen).await.map_err(wrong)?;
    // Port 0 asks for any free one: the log says which.
    let listen = listener.local_addr().unwrap_or(config.listen);
    let queries =
        crate::serve::listen(&config.serve).map_err(|source| RunError::Serve { path: config.serve.clone(), source })?;
    let lease = lease(&config, &format!("ferrant-controller/{listen}"))?;
    directory::start(&config.source, &config.status, lease.clone(), events.clone())?;

    let metrics = Metrics::default();
    tokio::spawn(serve_agents(listener, admission, events.clone(), metrics.clone()));
    if let Some(address) = config.metrics {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.map_err(|source| RunError::Metrics { address, source })?;
        tokio::spawn(crate::serve::serve_metrics(listener, events.clone(), metrics.clone()));
    }
    tokio::spawn(crate::serve::serve(queries, events.clone(), metrics.clone()));
    tokio::spawn(tick(events.clone()));
    tokio::spawn(stop_on_signal(events));
    info!(%listen, source = %config.source.display(), "started");

    let publish = Publish::new(&format!("ferrant-controller/{listen}"));
    let mut controller = Controller { publish, check_plan: config.check_plan, metrics, ..Controller::default() };
    controller.run(inbox).await;
    // What a process leaves behind, the next takes over; a clean stop leaves nothing.
    lease.release();
    let _ = std::fs::remove_file(&config.serve);
    Ok(())
}

/// Who is served over the network.
fn admission(config: &Config) -> Result<Admission, RunError> {
    match &config.access {
        Access::Insecure => {
            warn!(
                "--insecure: whoever reaches --listen is told everything and may speak for any node; for a lab on one machine"
            );
            Ok(Admission::Insecure)
        }
        Access::Certificates { folder, lifetime } => {
            Ok(Admission::Certificates(Acceptor::new(Authority::open(folder)?, *lifetime)?))
        }
    }
}

/// Serves agents, until the process ends.
async fn serve_agents(listener: TcpListener, admission: Admission, events: mpsc::Sender<Event>, metrics: Metrics) {
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)));
    let server = server.add_service(ControlService::new(events.clone(), admission.clone()));
    let served = match admission {
        Admission::Insecure => server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await,
        Admission::Certificates(acceptor) => {
            let (agents, incoming) = mpsc::channel(ADMITTED);
            tokio::spawn(secure::renew(acceptor.clone(), metrics.clone()));
            tokio::spawn(secure::accept(listener, acceptor, agents, events, metrics));
            server.serve_with_incoming(ReceiverStream::new(incoming)).await
        }
    };
    if let Err(error) = served {
        error!(%error, "agents are no longer served");
    }
}

/// A lease on the status directory, which a thread keeps renewing or watching.
fn lease(config: &Config, name: &str) -> Result<Lease, RunError> {
    let thread = |source| RunError::Lease { path: config.status.clone(), source };
    let mut random = [0; 8];
    let mut source = std::fs::File::open("/dev/urandom").map_err(thread)?;
    std::io::Read::read_exact(&mut source, &mut random).map_err(thread)?;
    let lease = Lease::new(&config.status, format!("{name} {:016x}", u64::from_be_bytes(random)), lease::DURATION);
    let kept = lease.clone();
    std::thread::Builder::new().name("lease".to_owned()).spawn(move || kept.keep()).map_err(thread)?;
    Ok(lease)
}

async fn tick(events: mpsc::Sender<Event>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        // A full inbox has better to do.
        if let Err(mpsc::error::TrySendError::Closed(_)) = events.try_send(Event::Tick) {
            return;
        }
    }
}

async fn stop_on_signal(events: mpsc::Sender<Event>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        warn!("signals cannot be watched; the process ends without farewell");
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let _ = events.send(Event::Stop).await;
}

#[derive(Default)]
struct Controller {
    state: State,
    plan: Plan,
    publish: Publish,
    answers: Answers,
    metrics: Metrics,
    planned: bool,
    check_plan: bool,
    /// Since when nodes are awaited.
    awaiting: Option<Instant>,
}

impl Controller {
    async fn run(&mut self, mut inbox: mpsc::Receiver<Event>) {
        while let Some(first) = inbox.recv().await {
            let mut changed = Changed::default();
            let mut queries = Vec::new();
            let mut tick = false;
            let mut next = Some(first);
            while let Some(event) = next {
                match event {
                    Event::Source(events) => {
                        self.metrics.source_events.inc_by(events.len() as u64);
                        events.into_iter().for_each(|event| self.state.apply(event, &mut changed));
                    }
                    Event::Agent(session, event) => self.agent(session, event, &mut changed),
                    Event::Query(query) => queries.push(query),
                    Event::Tick => tick = true,
                    Event::Stop => return,
                }
                next = inbox.try_recv().ok();
            }
            self.plan(&changed);
            self.limit_waiting();
            self.publish.send(&self.state, &self.plan, tick);
            self.answer(queries);
        }
    }

    fn agent(&mut self, session: SessionId, event: AgentEvent, changed: &mut Changed) {
        if let AgentEvent::Connected(mut connected) = event {
            let pods = std::mem::take(&mut connected.pods);
            pods.iter().for_each(|report| self.warn_if_refused(&connected.node, report));
            let (boot, sequence) = (connected.boot.clone(), connected.sequence);
            self.state.agent_has_seen(std::mem::take(&mut connected.seen));
            let latest = self.state.latest_boot(&connected.node);
            self.state.agent_connected(&connected.node, boot, sequence, pods, changed);
            self.publish.reported(&connected.node, sequence, &self.state);
            self.metrics.sessions_opened.inc();
            self.publish.connect(session, connected, latest);
            return;
        }
        let Some(node) = self.publish.node_of(session).cloned() else { return };
        match event {
            AgentEvent::Connected(_) => {}
            AgentEvent::Pod(report) => {
                self.metrics.agent_messages.with(["pod"]).inc();
                self.warn_if_refused(&node, &report);
                let (sequence, frees) = (report.sequence, report.addresses.is_empty());
                if let Some(refused) = self.state.pod_reported(&node, report, changed) {
                    warn!(%node, %refused, "an agent's report of a pod was not taken");
                }
                if frees {
                    self.publish.reported(&node, sequence, &self.state);
                }
            }
            AgentEvent::Acknowledged { frame, head } => {
                self.metrics.agent_messages.with(["acknowledge"]).inc();
                self.publish.acknowledged(session, frame, head);
            }
            AgentEvent::Realised(realised) => {
                self.metrics.agent_messages.with(["realised"]).inc();
                self.publish.realised(session, realised);
            }
            AgentEvent::Take { take, digests } => {
                self.metrics.agent_messages.with(["take"]).inc();
                self.publish.take(session, take, digests);
            }
            AgentEvent::Listen => {
                self.metrics.agent_messages.with(["listen"]).inc();
                self.publish.listen(session);
            }
            AgentEvent::Held(held) => {
                self.metrics.agent_messages.with(["keys"]).inc();
                self.publish.held(session, held);
            }
            AgentEvent::Gone => {
                self.publish.gone(session);
                self.state.agent_gone(&node, changed);
            }
        }
    }

    /// A report that does not count now is kept, and counts once what is wrong is right; `/v1/errors` names it until then.
    /// Before the source has been in sync nobody knows.
    fn warn_if_refused(&self, node: &NodeName, report: &PodReport) {
        if self.state.source().has_been_in_sync
            && let Some(refused) = self.state.refusal(node, report)
        {
            warn!(%node, pod = %report.pod, %refused, "an agent's report of a pod does not count");
        }
    }

    /// A controller that has just started hears from nodes one after the other. Agents that have seen more are not told less
    /// meanwhile; but a node that does not come is not waited for longer than this.
    fn limit_waiting(&mut self) {
        if !self.state.source().has_been_in_sync || self.state.awaited().next().is_none() {
            self.awaiting = None;
        } else if self.awaiting.get_or_insert_with(Instant::now).elapsed() > AWAITED {
            let nodes: Vec<String> = self.state.awaited().take(10).map(ToString::to_string).collect();
            warn!(
                ?nodes,
                "agents have seen reports of nodes that have not come here; they are not waited for any longer"
            );
            self.state.await_no_longer();
        }
    }

    /// Before the source has been in sync nothing is published, so nothing is planned: the first plan is computed whole.
    fn plan(&mut self, changed: &Changed) {
        if !self.state.source().has_been_in_sync {
            return;
        }
        if !std::mem::replace(&mut self.planned, true) {
            let since = std::time::Instant::now();
            self.plan = Plan::of(&self.state);
            self.metrics.plan_seconds.took(since.elapsed());
            info!(plan = ?self.plan.counts(), version = self.state.source().version, "the source is in sync");
            return;
        }
        if changed.is_empty() {
            return;
        }
        let since = std::time::Instant::now();
        let deltas = self.plan.update(&self.state, changed);
        self.metrics.plan_seconds.took(since.elapsed());
        self.publish.plan_changed(&self.plan, &deltas);
        if self.check_plan
            && let Err(difference) = self.plan.check(&self.state)
        {
            error!(%difference, "the plan is not what it would be when computed anew; a defect, please report it");
        }
    }

    fn answer(&mut self, queries: Vec<Query>) {
        for query in queries {
            self.answers.ask(query, &self.state, &self.plan, &self.publish);
        }
        self.answers.check(&self.state, &self.publish);
    }
}
