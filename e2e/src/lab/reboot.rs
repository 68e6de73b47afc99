//! A node that starts again: every process of it and every namespace on it ends, what is on disk stays.

use anyhow::Result;

use super::{Lab, Node, Plugin, PodPlan, pod};

impl Lab {
    /// Ends a node and brings it up again with the same addresses, its old database and its agent's old state. The pods it had are
    /// gone; as a kubelet does, the runtime says so (CNI DEL of each old sandbox). Returns what those pods were.
    pub fn reboot_node(&mut self, name: &str) -> Result<Vec<PodPlan>> {
        let index = self.node_index(name)?;
        let gone: Vec<pod::Sandbox> =
            self.pods.extract_if(.., |_, pod| pod.plan().node == name).map(|(_, pod)| pod.sandbox().clone()).collect();
        let old = self.nodes.remove(index);
        let plan = old.plan().clone();
        drop(old);
        self.underlay.unplug(&Node::port(index));
        let node = Node::start(&self.name, plan, index, &self.underlay, self.folder.path(), self.options.datapath)?;
        self.nodes.insert(index, node);
        self.start_agent(index)?;
        self.wait_for_daemons()?;
        let plugin: Plugin = self.plugin(index);
        let namespace = self.nodes[index].namespace().clone();
        for sandbox in &gone {
            sandbox.detach(&namespace, &plugin, self.pace)?;
        }
        Ok(gone.into_iter().map(|sandbox| sandbox.plan().clone()).collect())
    }
}
