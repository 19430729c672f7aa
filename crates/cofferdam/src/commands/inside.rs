//! `cofferdam inside -- CMD`: a command that can reach a site and nothing else.

use std::process::ExitCode;

use cofferdam_runner::Watched;
use cofferdam_sandbox::Stdio;
use cofferdam_types::{Error, Result};

use super::{Context, record::code_of};
use crate::{
    personal::Own,
    toolchain::{Build, door, open_folders},
};

/// Runs it in this folder, with an empty home and every package client set up.
pub async fn run(context: &Context, command: &[String]) -> Result<ExitCode> {
    let client = context.client()?;
    let site = client.address()?;
    let inside = format!("http://{}", door(site).listen);
    let setups = client.setups(client.token(), &inside).await?.into_iter();
    let setups: Vec<_> =
        setups.map(|s| s.read.and(s.publish.map_or_else(Default::default, |(_, p)| p))).collect();
    let folder = std::env::current_dir().map_err(|e| Error::io("finding this folder", e))?;
    let home = tempfile::Builder::new()
        .prefix("cofferdam-inside-")
        .tempdir()
        .map_err(|e| Error::io("making a home", e))?;
    // The state folder of a site on this machine holds its keys, readable by this very account.
    let secret = [context.home()?.path().to_owned()];
    let own = Own::find();
    own.left_out.iter().for_each(|line| eprintln!("{line}"));
    let build = Build {
        command,
        folder: &folder,
        home: home.path(),
        site,
        setups: &setups,
        own: &own,
        secret: &secret,
    };
    let mut spec = build.spec()?;
    spec.stdin = Stdio::Inherit;
    let watched = Watched::new(door(site), client.token().unwrap_or_default())?;
    let trust = tempfile::Builder::new()
        .prefix("cofferdam-trust-")
        .tempdir()
        .map_err(|e| Error::io("making a folder for the authority", e))?;
    let (mut running, unwatched) = watched.start(spec, trust.path()).await?;
    if let Some(why) = unwatched {
        eprintln!("{why}");
    }
    let outcome = running.wait().await?;
    eprint!("{}", watched.seen(&mut running).await?.text());
    open_folders(home.path());
    Ok(ExitCode::from(u8::try_from(code_of(&outcome.status)).unwrap_or(1)))
}
