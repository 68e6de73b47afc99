//! Network namespaces for the tests of the node's own half. Each belongs to a thread and ends with it, so that nothing is left
//! behind however a test ends, and nothing outside is touched.

use std::future::Future;
use std::net::{IpAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

type Work = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread that works in it.
pub struct Place {
    work: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    path: String,
}

impl Place {
    pub fn new() -> Place {
        let (work, inbox) = mpsc::channel::<Work>();
        let (entered, path) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
            entered.send(path).expect("the test waits for it");
            inbox.into_iter().for_each(|work| work());
        });
        let path = path.recv().expect("the thread has entered a namespace");
        let place = Place { work: Some(work), thread: Some(thread), path };
        place.run("ip link set lo up");
        place.run("sysctl -q -w net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
        place
    }

    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work: Work = Box::new(move || done.send(work()).expect("the test waits for it"));
        self.work.as_ref().expect("it lives as long as the place").send(work).expect("the thread lives");
        result.recv().expect("the work ended without a panic")
    }

    /// Runs asynchronous code inside, on the place's own thread.
    pub fn block_on<T: Send + 'static, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send + 'static) -> T {
        self.inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work())
        })
    }

    /// Runs a command line inside; it has to work.
    pub fn run(&self, line: &str) -> String {
        let line = line.to_owned();
        self.inside(move || {
            let mut words = line.split_whitespace();
            let tool = words.next().expect("a command line");
            let output = Command::new(tool).args(words).output().expect("the tool is installed");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("tools print text")
        })
    }

    /// Runs several, one a line.
    pub fn run_all(&self, lines: &str) {
        lines.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| drop(self.run(line)));
    }

    /// A veth pair between here and there, both ends up.
    pub fn connect(&self, here: &str, other: &Place, there: &str) {
        self.run(&format!("ip link add name {here} type veth peer name {there} netns {}", other.path));
        self.run(&format!("ip link set {here} up"));
        other.run(&format!("ip link set {there} up"));
    }

    /// A UDP socket here, which waits five seconds for what it hears.
    pub fn socket(&self, address: &str) -> UdpSocket {
        let address: IpAddr = address.parse().expect("an address");
        self.inside(move || {
            let socket = UdpSocket::bind((address, 5000)).expect("the address is there and usable");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
            socket
        })
    }

    /// How many packets a named counter of `table netdev watch` has seen.
    pub fn counted(&self, counter: &str) -> u64 {
        let text = self.run(&format!("nft list counter netdev watch {counter}"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().expect("nft shows packets").parse().expect("a number")
    }

    /// Loads nft text.
    pub fn nft(&self, text: &str) {
        use std::io::Write;
        let text = text.to_owned();
        self.inside(move || {
            let mut child = Command::new("nft")
                .args(["-f", "-"])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("nft is installed");
            child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("nft reads");
            assert!(child.wait().expect("it ends").success(), "{text}");
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
