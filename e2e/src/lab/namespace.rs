//! A network namespace with a name, and the one thread that lives in it.
//!
//! The name lies in `/run/netns`, where ip-netns(8) looks, so a person enters with `nsenter --net=/run/netns/NAME`.
//! Whatever must happen inside (opening a socket, starting a process) is handed to the thread; sockets and processes keep
//! the namespace they were made in, so nothing else ever changes namespace. Processes started there are tied to the thread's
//! life (`setpriv --pdeathsig`), so they cannot outlive a lab that is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Where ip-netns(8) keeps names.
pub const NAMES: &str = "/run/netns";

type Job = Box<dyn FnOnce() + Send>;

/// A named network namespace; dropping it removes the name and ends the thread.
pub struct Namespace {
    name: String,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Namespace {
    /// Makes a new namespace with its loopback interface up.
    pub fn create(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let path = Path::new(NAMES).join(&name);
        fs::create_dir_all(NAMES).with_context(|| format!("cannot create {NAMES}"))?;
        let (ready, is_ready) = mpsc::channel::<Result<()>>();
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || {
                let outcome = enter_new(&path);
                let failed = outcome.is_err();
                if ready.send(outcome).is_err() || failed {
                    return;
                }
                for job in inbox {
                    job();
                }
            })
            .context("cannot start a thread for a namespace")?;
        let namespace = Self { name, jobs: Some(jobs), thread: Some(thread) };
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(anyhow!("its thread ended")))
            .with_context(|| format!("cannot create network namespace {}; the lab needs root", namespace.name))?;
        Ok(namespace)
    }

    /// Its name below `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// The command that takes a person inside.
    pub fn how_to_enter(&self) -> String {
        format!("nsenter --net={}", self.path().display())
    }

    /// Runs `job` inside and waits for its result. Jobs of one namespace run one after the other: keep them short.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, result) = mpsc::channel();
        self.post(Box::new(move || {
            // The asker may be gone; then nobody needs the result.
            let _ = answer.send(job());
        }))?;
        result.recv().map_err(|_| anyhow!("the job in network namespace {} panicked", self.name))
    }

    /// Like [`Namespace::run`], for async callers.
    pub async fn ask<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, result) = tokio::sync::oneshot::channel();
        self.post(Box::new(move || {
            let _ = answer.send(job());
        }))?;
        result.await.map_err(|_| anyhow!("the job in network namespace {} panicked", self.name))
    }

    /// Sets a kernel parameter of this namespace, e.g. `net/ipv4/ip_forward`.
    pub fn set_parameter(&self, parameter: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(parameter);
        let (file, text) = (path.clone(), value.to_owned());
        self.run(move || fs::write(file, text))?
            .with_context(|| format!("cannot set {} in network namespace {}", path.display(), self.name))
    }

    /// Makes IPv6 addresses usable at once, without duplicate address detection.
    pub fn trust_addresses(&self) -> Result<()> {
        self.set_parameter("net/ipv6/conf/default/accept_dad", "0")?;
        self.set_parameter("net/ipv6/conf/all/accept_dad", "0")
    }

    fn post(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.as_ref().expect("the sender is taken only on drop");
        jobs.send(job).map_err(|_| anyhow!("the thread of network namespace {} has ended", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        forget(&self.path());
    }
}

/// Removes a name from `/run/netns`; the namespace itself ends with its last process and socket.
pub fn forget(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// Moves the calling thread into a new namespace and binds it to `path`.
fn enter_new(path: &Path) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("unshare")?;
    fs::File::create_new(path).with_context(|| format!("create {}", path.display()))?;
    let own = format!("/proc/self/task/{}/ns/net", nix::unistd::gettid());
    let bound = mount(Some(own.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let Err(error) = bound {
        let _ = fs::remove_file(path);
        return Err(error).with_context(|| format!("mount {own} at {}", path.display()));
    }
    let status =
        std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip link set lo up")?;
    anyhow::ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}
