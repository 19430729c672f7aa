//! One file a command.

mod audit;
mod carry;
mod collect;
mod config;
mod doctor;
mod env;
mod hints;
mod init;
mod inside;
mod key;
mod known;
mod medium;
mod mentions;
mod progress;
mod project;
mod record;
mod repo;
pub(crate) mod schedule;
mod serve;
mod sources;
mod transfers;
mod try_story;
mod users;
mod workplace;

use std::process::ExitCode;

use cofferdam_types::{Error, Result};

use crate::{
    cli::{Cli, Command},
    client::Client,
    home::Home,
};

/// What every command gets of the command line.
pub struct Context {
    home: Option<std::path::PathBuf>,
    site: Option<String>,
    token: Option<String>,
    /// Print data as JSON.
    pub json: bool,
}

impl Context {
    /// The state folder.
    fn home(&self) -> Result<Home> {
        Home::find(self.home.as_deref())
    }

    /// The site to talk to.
    fn client(&self) -> Result<Client> {
        Client::new(self.site.as_deref(), self.token.as_deref())
    }
}

/// Runs one command.
///
/// # Errors
/// What went wrong; `main` shows it and picks the exit code.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let context = Context { home: cli.home, site: cli.site, token: cli.token, json: cli.json };
    match cli.command {
        // These two decide about threads and namespaces themselves, before any runtime starts.
        Command::Serve(arguments) => return serve::run(&context, &arguments),
        Command::Completions { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "cofferdam", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Doctor => return doctor::run(&context),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::internal("starting", e))?;
    runtime.block_on(dispatch(&context, cli.command))
}

async fn dispatch(context: &Context, command: Command) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Try(arguments) => try_story::run(&arguments).await,
        Command::Init(arguments) => init::run(context, &arguments).await.map(done),
        Command::Env => env::run(context).await.map(done),
        Command::Inside { command } => inside::run(context, &command).await,
        Command::Record(arguments) => record::record(context, &arguments).await,
        Command::Rehearse { name, keep } => record::rehearse(context, &name, keep.as_deref()).await,
        Command::Collect(arguments) => collect::run(context, &arguments).await,
        Command::Pack(arguments) => transfers::pack(context, &arguments).await.map(done),
        Command::Release { folder, key } => medium::release(context, &folder, &key).map(done),
        Command::Inspect { folder } => medium::inspect(context, &folder).map(done),
        Command::Verify { folders, keys, threshold, destination } => {
            medium::verify(context, &folders, &keys, threshold, destination.as_deref()).map(done)
        }
        Command::Receive { folders, accept_expired, accept_gap, repair } => {
            let more = serde_json::json!({ "accept_expired": accept_expired, "accept_gap": accept_gap, "repair": repair });
            transfers::receive(context, &folders, more).await
        }
        Command::Repair(arguments) => carry::repair(context, &arguments).await.map(done),
        Command::Receipt { action } => carry::receipt(context, action).await.map(done),
        Command::Want { action } => carry::want(context, action).await.map(done),
        Command::Medium { action } => carry::medium(context, action).await.map(done),
        Command::Stream { action } => carry::stream(context, action).await.map(done),
        Command::Transfers { id } => transfers::list(context, id).await.map(done),
        Command::Approve(arguments) => transfers::vote(context, &arguments, "approve").await.map(done),
        Command::Reject(arguments) => transfers::vote(context, &arguments, "reject").await.map(done),
        Command::Publish { id } => transfers::publish(context, id).await.map(done),
        Command::Repo { action } => repo::run(context, action).await.map(done),
        Command::Project { action } => project::project(context, action).await.map(done),
        Command::Pipeline { action } => project::pipeline(context, action).await,
        Command::Job { action } => project::job(context, action).await.map(done),
        Command::Audit { action } => audit::run(context, action).await.map(done),
        Command::Key { action } => key::run(context, action).await.map(done),
        Command::User { action } => users::user(context, action).await.map(done),
        Command::Token { action } => users::token(context, action).await.map(done),
        Command::Config { action } => config::run(context, &action).map(done),
        Command::Serve(_) | Command::Completions { .. } | Command::Doctor => Ok(ExitCode::SUCCESS),
    }
}
