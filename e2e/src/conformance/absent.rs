//! Calls while the agent, the switch or its database is away, and what holds when they are back.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::{NETWORK, Tally, World, long_name, refused, silent, worked};

pub(super) async fn run(world: &mut World, tally: &mut Tally) -> Result<()> {
    world.speak("1.1.0")?;
    no_agent(world, tally).await?;
    no_switch(world, tally).await?;
    no_database(world, tally).await?;
    wiped(world, tally).await
}

/// Waits until STATUS says that an ADD can be done.
pub(super) async fn ready(world: &mut World) -> Result<()> {
    let started = std::time::Instant::now();
    loop {
        let status = world.containerd().status(NETWORK)?;
        if status.success {
            return Ok(());
        }
        ensure!(
            started.elapsed() < world.lab.pace().allow(Duration::from_secs(30)),
            "STATUS says {}",
            status.said.trim()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn no_agent(world: &mut World, tally: &mut Tally) -> Result<()> {
    let (stays, goes, comes) = (world.guest()?, world.guest()?, world.guest()?);
    worked(&world.containerd().add(NETWORK, &stays.sandbox)?)?;
    worked(&world.containerd().add(NETWORK, &goes.sandbox)?)?;
    world.lab.nodes_mut()[0].stop_agent();
    let added = world.containerd().add(NETWORK, &comes.sandbox)?;
    tally.case("without an agent: ADD is put off", refused(&added, 11, "cni.sock"));
    let checked = world.containerd().check(NETWORK, &stays.sandbox)?;
    tally.case("without an agent: CHECK is put off", refused(&checked, 11, "cni.sock"));
    let status = world.containerd().status(NETWORK)?;
    tally.case("without an agent: STATUS says that no ADD can be done", refused(&status, 50, "cni.sock"));
    let collected = world.containerd().collect(NETWORK, Some(&[]))?;
    tally.case("without an agent: GC is put off", refused(&collected, 11, "cni.sock"));
    for round in ["DEL succeeds", "DEL again succeeds"] {
        let deleted = world.containerd().delete(NETWORK, &goes.sandbox)?;
        tally.case(format!("without an agent: {round}"), silent(&deleted));
    }
    let in_pod = super::links(&goes.namespace)?.iter().any(|(name, _)| name == "eth0");
    let gone = if in_pod { Err(anyhow!("eth0 is still there")) } else { Ok(()) };
    tally.case("without an agent: DEL removes the pod's interface", gone);
    world.lab.start_agent(0)?;
    ready(world).await?;
    tally.case("the agent that comes back does what DEL had left to it", world.nothing_is_left(&goes).await);
    let notes = world.lab.nodes()[0].cni_socket().with_file_name("detached");
    let empty = || Ok((std::fs::read_dir(&notes).map_or(0, Iterator::count) == 0).then_some(()));
    tally.case("and removes the note", world.lab.pace().until("the note to go", Duration::from_secs(5), empty));
    let checked = world.containerd().check(NETWORK, &stays.sandbox)?;
    tally.case("CHECK of a pod after a restart of the agent", silent(&checked));
    let added = world.containerd().add(NETWORK, &comes.sandbox)?;
    tally.case("the ADD that was put off", worked(&added));
    for guest in [&stays, &comes] {
        let deleted = world.containerd().delete(NETWORK, &guest.sandbox)?;
        tally.case("DEL after a restart of the agent", silent(&deleted));
        world.nothing_is_left(guest).await?;
    }
    Ok(())
}

async fn no_switch(world: &mut World, tally: &mut Tally) -> Result<()> {
    let (stays, goes, comes) = (world.guest()?, world.guest()?, world.guest()?);
    worked(&world.containerd().add(NETWORK, &stays.sandbox)?)?;
    worked(&world.containerd().add(NETWORK, &goes.sandbox)?)?;
    let (switch, _) = world.lab.nodes_mut()[0].switch();
    let [vswitchd, _] = switch.daemons();
    vswitchd.kill();
    let pace = world.lab.pace();
    let limited = || world.containerd().status(NETWORK).map(|status| refused(&status, 51, "switch").ok());
    let said = pace.until("STATUS to notice", Duration::from_secs(10), limited);
    tally.case("without ovs-vswitchd: STATUS says that pods may not reach all", said);
    let added = world.containerd().add(NETWORK, &comes.sandbox)?;
    tally.case("without ovs-vswitchd: ADD is put off", refused(&added, 11, "pod shop/"));
    let deleted = world.containerd().delete(NETWORK, &goes.sandbox)?;
    tally.case("without ovs-vswitchd: DEL succeeds", silent(&deleted));
    world.lab.restart_switch(super::NODE)?;
    ready(world).await?;
    for (guest, what) in [(&goes, "the DEL"), (&comes, "the ADD that was put off")] {
        tally.case(format!("with ovs-vswitchd back nothing is left of {what}"), world.nothing_is_left(guest).await);
    }
    let checked = || world.containerd().check(NETWORK, &stays.sandbox).map(|checked| silent(&checked).ok());
    let said = pace.until("CHECK to succeed", Duration::from_secs(10), checked);
    tally.case("with ovs-vswitchd back the other pod is as it was", said);
    worked(&world.containerd().delete(NETWORK, &stays.sandbox)?)
}

async fn no_database(world: &mut World, tally: &mut Tally) -> Result<()> {
    let (stays, goes, comes) = (world.guest()?, world.guest()?, world.guest()?);
    worked(&world.containerd().add(NETWORK, &stays.sandbox)?)?;
    worked(&world.containerd().add(NETWORK, &goes.sandbox)?)?;
    let (switch, _) = world.lab.nodes_mut()[0].switch();
    let [_, database] = switch.daemons();
    database.kill();
    let status = || world.containerd().status(NETWORK).map(|status| refused(&status, 50, "database").ok());
    let said = world.lab.pace().until("STATUS to notice", Duration::from_secs(10), status);
    tally.case("without ovsdb-server: STATUS says that no ADD can be done", said);
    let added = world.containerd().add(NETWORK, &comes.sandbox)?;
    tally.case("without ovsdb-server: ADD is put off", refused(&added, 11, "ovsdb-server"));
    let deleted = world.containerd().delete(NETWORK, &goes.sandbox)?;
    tally.case("without ovsdb-server: DEL succeeds", silent(&deleted));
    world.lab.nodes_mut()[0].restart_database(false)?;
    ready(world).await?;
    for (guest, what) in [(&goes, "the DEL"), (&comes, "the ADD that was put off")] {
        tally.case(format!("with ovsdb-server back nothing is left of {what}"), world.nothing_is_left(guest).await);
    }
    let checked = world.containerd().check(NETWORK, &stays.sandbox)?;
    tally.case("with ovsdb-server back the other pod is as it was", silent(&checked));
    worked(&world.containerd().delete(NETWORK, &stays.sandbox)?)
}

/// The database is lost while the agent runs, and while it does not; one pod has the longest name there may be.
async fn wiped(world: &mut World, tally: &mut Tally) -> Result<()> {
    let (short, long) = (world.guest()?, world.guest_named(&long_name())?);
    for (guest, what) in [(&short, "an ordinary name"), (&long, "a name of 253 bytes")] {
        let added = world.containerd().add(NETWORK, &guest.sandbox)?;
        tally.case(format!("ADD of a pod with {what}"), worked(&added));
    }
    for (running, how) in [(true, "while the agent runs"), (false, "while no agent runs")] {
        if !running {
            world.lab.nodes_mut()[0].stop_agent();
        }
        world.lab.nodes_mut()[0].restart_database(true)?;
        if !running {
            world.lab.start_agent(0)?;
        }
        ready(world).await?;
        for (guest, what) in [(&short, "an ordinary name"), (&long, "a name of 253 bytes")] {
            let checked = || world.containerd().check(NETWORK, &guest.sandbox).map(|checked| silent(&checked).ok());
            let said = world.lab.pace().until("CHECK to succeed", Duration::from_secs(15), checked);
            let said = said.map_err(|error| match world.containerd().check(NETWORK, &guest.sandbox) {
                Ok(checked) => anyhow!("{error:#}: {}", checked.said.trim()),
                Err(other) => other,
            });
            tally.case(format!("the database is wiped {how}: a pod with {what} is back without an ADD"), said);
        }
    }
    for guest in [&short, &long] {
        let deleted = world.containerd().delete(NETWORK, &guest.sandbox)?;
        tally.case("DEL of a pod that came back", silent(&deleted));
        tally.case("leaves nothing", world.nothing_is_left(guest).await);
    }
    Ok(())
}
