//! Network namespaces: the one the plugin runs in, the pod's, and work done inside the latter.

#![allow(clippy::disallowed_methods, reason = "a wrapper: network namespaces")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use apis::cni::{CniError, ErrorCode};
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, fstatfs};

/// `NSFS_MAGIC` of linux/magic.h: what a network namespace's file is on.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// An open network namespace; it lives at least as long as this does.
pub(crate) struct Namespace {
    file: File,
    path: PathBuf,
    /// Device and inode say which namespace it is, nsfs (`man 7 namespaces`).
    identity: (u64, u64),
}

impl Namespace {
    /// The namespace this thread is in.
    pub(crate) fn current() -> Result<Namespace, CniError> {
        let path = Path::new("/proc/thread-self/ns/net");
        Namespace::open(path).map_err(|error| {
            CniError::new(
                ErrorCode::IO_FAILURE,
                "the plugin's own network namespace cannot be opened",
                error.to_string(),
            )
        })
    }

    /// The pod's, which has to exist.
    pub(crate) fn of_pod(path: &Path) -> Result<Namespace, CniError> {
        let found = Namespace::if_there(path)?;
        if found.is_none() && path.exists() {
            return Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                format!("CNI_NETNS={} is not a network namespace", path.display()),
                "it is a file of another kind: the namespace was unmounted, or the runtime names another file",
            ));
        }
        found.ok_or_else(|| {
            CniError::new(
                ErrorCode::UNKNOWN_CONTAINER,
                format!("network namespace {} (CNI_NETNS) does not exist", path.display()),
                "the container has ended, or the runtime names another file",
            )
        })
    }

    /// The pod's, unless it is gone.
    pub(crate) fn if_there(path: &Path) -> Result<Option<Namespace>, CniError> {
        match Namespace::open(path) {
            // A name without its namespace: what is left of one that was unmounted.
            Ok(namespace) => Ok(Some(namespace).filter(Namespace::is_one)),
            // ENOTDIR and ESRCH: a path below /proc whose process has ended.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(CniError::new(
                ErrorCode::IO_FAILURE,
                format!("network namespace {} (CNI_NETNS) cannot be opened", path.display()),
                error.to_string(),
            )),
        }
    }

    fn open(path: &Path) -> io::Result<Namespace> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Namespace { file, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    fn is_one(&self) -> bool {
        // Kernels before 3.19 had namespaces' files on procfs.
        fstatfs(&self.file).is_ok_and(|found| [PROC_SUPER_MAGIC, NSFS_MAGIC].contains(&found.filesystem_type()))
    }

    /// Whether both are one namespace.
    pub(crate) fn is_same(&self, other: &Namespace) -> bool {
        self.identity == other.identity
    }

    /// A pod in the node's own namespace is on the host network and gets no interface.
    pub(crate) fn refuse_same(&self, node: &Namespace) -> Result<(), CniError> {
        if !self.is_same(node) {
            return Ok(());
        }
        Err(CniError::new(
            ErrorCode::INVALID_ENVIRONMENT,
            format!("CNI_NETNS={} is the network namespace of the node", self.path.display()),
            "a pod on the host network is not attached; name the pod's own namespace",
        ))
    }

    /// The descriptor, for netlink's IFLA_NET_NS_FD.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Does `work` inside the namespace, on a thread that ends with it: no other code ever runs in the wrong place. Sockets and
    /// files below /proc/sys/net that `work` opens are the namespace's.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, CniError> {
        let entered = std::thread::scope(|scope| {
            let thread = scope.spawn(|| setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map(|()| work()));
            thread.join()
        });
        match entered {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(errno)) => Err(CniError::new(
                ErrorCode::IO_FAILURE,
                format!("network namespace {} cannot be entered", self.path.display()),
                format!("{}; the file has to be a network namespace, and the plugin root", io::Error::from(errno)),
            )),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use nix::libc::{ENOENT, ENOTDIR, ESRCH};
    matches!(error.raw_os_error(), Some(ENOENT | ENOTDIR | ESRCH))
}
