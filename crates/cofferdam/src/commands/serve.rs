//! `cofferdam serve`: a running site.
//!
//! The order at the start matters: the listening socket is opened first, then (`--sealed`) the
//! process moves into a network namespace with no route, while it still has one thread; only then
//! does the runtime start. A sealed site also listens on the same port inside its own namespace,
//! for its own runner.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use cofferdam_http::{Caller, Front};
use cofferdam_runner::{Runner, RunnerConfig};
use cofferdam_sandbox::isolate_self_from_network;
use cofferdam_types::{Clock as _, Error, Result, time::SystemClock};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    cli::ServeArgs,
    config::Config,
    home::Home,
    signals::stopped,
    site::{self, Opened},
    toolchain::{Toolchain, door},
};

const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SILENT_RUNNER: Duration = Duration::from_secs(300);

/// Runs until it is told to stop.
pub fn run(context: &Context, arguments: &ServeArgs) -> Result<ExitCode> {
    let home = context.home()?;
    let config = home.config()?;
    log_to_stderr();
    let mut listeners = vec![open_socket(&config, arguments)?];
    if arguments.sealed {
        isolate_self_from_network()?;
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, local(&listeners[0])?.port()));
        let inner = TcpListener::bind(own).map_err(|e| Error::io(format!("listening on {own} inside"), e))?;
        listeners.push(inner);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal("starting the runtime", e))?;
    runtime.block_on(serve(home, config, listeners, arguments))?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("COFFERDAM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

fn open_socket(config: &Config, arguments: &ServeArgs) -> Result<TcpListener> {
    if let Some(fd) = arguments.listen_fd {
        return inherited(fd);
    }
    TcpListener::bind(config.listen).map_err(|e| {
        Error::invalid("listen", format!("the site cannot listen on {}: {e}", config.listen))
            .hint("another program has the port, or the address is not this machine's: see `listen` in cofferdam.toml")
    })
}

/// A socket that whoever started us has opened.
fn inherited(fd: i32) -> Result<TcpListener> {
    // Opening the descriptor's own entry would make a new socket; it has to be taken over as it is.
    let duplicate = rustix::io::fcntl_dupfd_cloexec(borrowed(fd)?, 3)
        .map_err(|e| Error::io("taking over the socket", e.into()))?;
    Ok(TcpListener::from(duplicate))
}

#[expect(unsafe_code, reason = "a descriptor number from the command line has no owner yet")]
fn borrowed(fd: i32) -> Result<std::os::fd::BorrowedFd<'static>> {
    if fd < 3 || !std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists() {
        return Err(Error::invalid("listen-fd", format!("{fd} is not an open file descriptor above 2")));
    }
    // SAFETY: the descriptor is open (checked above) and nothing in this process closes it: it was
    // inherited, and this is called once at the start.
    Ok(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

fn local(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|e| Error::io("asking for the socket's address", e))
}

async fn serve(home: Home, config: Config, listeners: Vec<TcpListener>, arguments: &ServeArgs) -> Result<()> {
    let opened = site::open(&home, &config).await?;
    opened.crossing.resume().await?;
    let stop = CancellationToken::new();
    let address = local(&listeners[0])?;
    let mut tasks = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true).map_err(|e| Error::io("opening the socket", e))?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(|e| Error::io("opening the socket", e))?;
        let routes = cofferdam_http::router(opened.site.clone());
        let stopped = stop.clone();
        tasks.push(tokio::spawn(async move {
            let routes = routes.into_make_service_with_connect_info::<Caller>();
            let server = axum::serve(Front(listener), routes);
            let server = server.with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = server.await {
                tracing::error!("the server stopped: {error}");
            }
        }));
    }
    tasks.push(tokio::spawn(keep_books(opened_parts(&opened, &config), stop.clone())));
    if config.runner.enabled {
        tasks.push(start_runner(&home, &config, &opened, address, stop.clone()).await?);
    }
    announce(&config, address);
    until_told(arguments.until_stdin_closes).await?;
    stop.cancel();
    for task in tasks {
        // A client that holds its connection open must not hold the site.
        let _ = tokio::time::timeout(Duration::from_secs(3), task).await;
    }
    opened.site.registry.settle_all().await;
    checkpoint(&opened_parts(&opened, &config)).await?;
    opened.db.close().await;
    Ok(())
}

/// Says that the site answers: a line for programs on standard output, one for people.
fn announce(config: &Config, address: SocketAddr) {
    let line = json!({ "ready": true, "name": config.name, "url": config.public_url, "address": address });
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
    tracing::info!("the site `{}` is at {}", config.name, config.public_url);
}

async fn until_told(stdin_too: bool) -> Result<()> {
    let signal = stopped()?;
    let stdin = async {
        if stdin_too {
            let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = signal => {}
        () = stdin => {}
    }
    Ok(())
}

#[derive(Clone)]
struct Books {
    opened: Arc<(cofferdam_store::Db, Arc<cofferdam_trust::SigningKey>, cofferdam_forge::Forge)>,
    origin: String,
}

fn opened_parts(opened: &Opened, config: &Config) -> Books {
    let parts = (opened.db.clone(), Arc::clone(&opened.key), opened.forge.clone());
    Books { opened: Arc::new(parts), origin: config.name.to_string() }
}

/// Signs checkpoints of the audit log while it grows, and takes jobs back from runners that are gone.
async fn keep_books(books: Books, stop: CancellationToken) {
    let mut checkpoints = tokio::time::interval(CHECKPOINT_EVERY);
    let mut sweeps = tokio::time::interval(SWEEP_EVERY);
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            _ = checkpoints.tick() => checkpoint(&books).await,
            _ = sweeps.tick() => {
                let silent_since = cofferdam_types::Timestamp(SystemClock.now().0 - i64::try_from(SILENT_RUNNER.as_micros()).unwrap_or(0));
                books.opened.2.sweep(silent_since).await.map(drop)
            }
        };
        if let Err(error) = done {
            tracing::error!("{}", error.internal_chain());
        }
    }
}

async fn checkpoint(books: &Books) -> Result<()> {
    let (db, key, _) = &*books.opened;
    let mut tx = db.read().await?;
    let size = cofferdam_audit::size(&mut tx).await?;
    let last = cofferdam_audit::latest_checkpoint(&mut tx).await?.map_or(0, |(size, _)| size);
    drop(tx);
    if size == last {
        return Ok(());
    }
    let mut tx = db.write().await?;
    let origin = books.origin.as_str();
    let sign = |text: &str| cofferdam_trust::note::sign(text, &[(origin, key)]);
    cofferdam_audit::checkpoint(&mut tx, origin, sign, SystemClock.now()).await?;
    tx.commit().await
}

async fn start_runner(
    home: &Home,
    config: &Config,
    opened: &Opened,
    address: SocketAddr,
    stop: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let (_, token) = opened.forge.register_runner("system", "built in", &[], true).await?;
    let toolchain = Toolchain::find(&[home.path().to_owned()]);
    // The runner is in the same network namespace as the site, which listens on the loopback there.
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    let runner = Runner::new(RunnerConfig {
        name: "built in".into(),
        concurrency: config.runner.concurrency,
        site_door: Some(door(own)),
        mounts: toolchain.mounts,
        hide: toolchain.hide,
        env: toolchain.env,
        ..RunnerConfig::new(format!("http://{own}"), token, home.runner(), Arc::new(SystemClock))
    })?;
    Ok(tokio::spawn(async move { runner.run(stop).await }))
}
