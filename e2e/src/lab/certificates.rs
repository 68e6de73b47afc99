//! The lab's CA and what it issues, made by the controller's own command, as an operator makes them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use certificates::{Identity, Role, Validity};

use super::{Lab, Node, Pace};

/// As a flag has it; a slow machine renews more slowly.
pub(super) fn lifetime_flag(pace: Pace, lifetime: Duration) -> String {
    format!("{}s", pace.allow(lifetime).as_secs())
}

/// A CA: a folder, and the program that makes it and issues from it.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
    controller: PathBuf,
    lifetime: Option<String>,
}

impl Authority {
    /// Makes one.
    pub fn create(controller: &Path, folder: PathBuf) -> Result<Self> {
        let authority = Self { folder, controller: controller.to_owned(), lifetime: None };
        authority.run("create", &[])?;
        Ok(authority)
    }

    /// What it issues counts for this long.
    #[must_use]
    pub fn of_lifetime(self, lifetime: Option<String>) -> Self {
        Self { lifetime, ..self }
    }

    /// The folder that controllers are given.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Issues a certificate to a node.
    pub fn issue_node(&self, node: &str, out: &Path) -> Result<()> {
        let out = out.display().to_string();
        let mut flags = vec!["--node", node, "--out", &out];
        flags.extend(self.lifetime.as_ref().map(|lifetime| ["--lifetime", lifetime]).into_iter().flatten());
        self.run("issue", &flags)
    }

    /// Issues a certificate to a client.
    pub fn issue_client(&self, client: &str, out: &Path) -> Result<()> {
        self.run("issue", &["--client", client, "--out", &out.display().to_string()])
    }

    fn run(&self, command: &str, flags: &[&str]) -> Result<()> {
        let mut process = Command::new(&self.controller);
        process.args(["certificates", command, "--certificates"]).arg(&self.folder).args(flags);
        let output = process.output().with_context(|| format!("cannot run {}", self.controller.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`certificates {command} {}` failed: {said}", flags.join(" "));
        Ok(())
    }
}

impl Lab {
    /// The folder with a node's certificate.
    pub(super) fn certificates_of(&self, node: &str) -> PathBuf {
        self.folder.path().join("certificates").join(node)
    }

    /// Issues a certificate to a node and carries it there.
    pub fn certify(&self, node: &str) -> Result<()> {
        self.authority.issue_node(node, &self.certificates_of(node))
    }

    /// Gives a node a certificate that it should have renewed long ago.
    pub fn certify_due(&self, node: &str) -> Result<()> {
        let now = SystemTime::now();
        let due = Validity { from: now - Duration::from_secs(24 * 3600), until: now + Duration::from_secs(3600) };
        let authority = certificates::Authority::open(self.authority.folder())?;
        authority.issue_to(&self.certificates_of(node), &Role::Node(node.to_owned()), due)?;
        Ok(())
    }

    /// Whether it still has one that it should have renewed.
    pub fn is_due(&self, node: &str) -> Result<bool> {
        Ok(Identity::read(&self.certificates_of(node))?.validity().renew_at() <= SystemTime::now())
    }

    /// Waits until every node's certificate as it is now has expired, and a newer one is in its place.
    pub fn wait_for_renewal(&self) -> Result<()> {
        for node in self.nodes.iter().map(Node::name) {
            let folder = self.certificates_of(node);
            let first = Identity::read(&folder)?.validity();
            self.pace.until(&format!("{node}'s certificate to be renewed"), Duration::from_secs(60), || {
                let now = Identity::read(&folder)?.validity();
                Ok((first.is_over() && now.until > first.until).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Carries a certificate of another cluster to a node and starts its agent again; waits until it says that it is refused.
    /// Nobody waits for that node to obey any more.
    pub async fn estrange(&mut self, node: &str) -> Result<()> {
        let other = Authority::create(&self.binaries.controller, self.folder.path().join("other-cluster"))?;
        other.issue_node(node, &self.certificates_of(node))?;
        self.strangers.insert(node.to_owned());
        let index = self.node_index(node)?;
        self.start_agent(index)?;
        self.wait_for_daemons()?;
        let agent = self.nodes[index].agent().context("the agent was started")?;
        let refused = || Ok(agent.log_end().contains("no stream to this controller").then_some(()));
        self.pace.until("the agent to be refused", Duration::from_secs(10), refused)?;
        self.wait_for_switch(index).await
    }

    /// Carries a certificate of its own cluster to such a node; waits until it obeys.
    pub async fn welcome(&mut self, node: &str) -> Result<()> {
        self.certify(node)?;
        self.strangers.remove(node);
        self.settle().await.map(drop)
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join("certificates").join(format!("client-{name}"));
        self.authority.issue_client(name, &folder)?;
        Ok(folder)
    }
}
