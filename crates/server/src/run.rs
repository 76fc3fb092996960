//! What the commands do.

use std::{io::Write, process::ExitCode, sync::Arc};

use anyhow::Context;
use nowcast_model::{Clock, SystemClock};

use crate::{
    backup_command,
    cli::{CheckArgs, Cli, Command, DemoArgs, FsckArgs, Generate, ListenArgs},
    client,
    config::{self, Config, Overrides},
    dashboards, demo,
    generate::{self, Control, cli::ThelookArgs},
    log_command,
    sql::STACK_BYTES,
    stages::{Addresses, Listeners, Server},
    telemetry,
};

/// The exit code of `nowcast sql` where no server is.
const UNREACHABLE: u8 = 3;

/// Runs a command and reports how it went.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Serve(args) => serve(&args.listen, None),
        Command::Demo(args) => serve(&args.listen, Some(&args)),
        Command::Generate(args) => match args.what {
            Generate::Thelook(args) => generate(args),
        },
        Command::Sql(args) => client::sql(&args),
        Command::Import(args) => client::import(&args).map(print),
        Command::Export(args) => client::export(&args).map(print),
        Command::Check(args) => check(&args).map(print),
        Command::Log(args) => log_command::run(&args.command),
        Command::Backup(args) => backup_command::run_backup(&args).map(print),
        Command::Restore(args) => backup_command::run_restore(&args).map(print),
        Command::Fsck(args) => fsck(&args),
        Command::Health(args) => client::health(&args).map(print),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done about a standard error that is closed.
            let _ = writeln!(std::io::stderr(), "nowcast: {error:#}");
            let unreachable = error.downcast_ref::<client::Unreachable>().is_some();
            if unreachable { ExitCode::from(UNREACHABLE) } else { ExitCode::FAILURE }
        }
    }
}

fn print(text: String) {
    // A reader that went away (`| head`) has what it wanted.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn generate(args: ThelookArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(generate::client::run(args))?)
}

/// Prints what was found before it fails for what is wrong.
fn fsck(args: &FsckArgs) -> anyhow::Result<()> {
    let (out, wrong) = backup_command::run_fsck(args)?;
    print(out);
    anyhow::ensure!(wrong.is_empty(), "{} found wrong\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn load(listen: &ListenArgs, is_demo: bool) -> anyhow::Result<Config> {
    let mut overrides = listen.overrides();
    if is_demo && overrides.data.is_none() {
        overrides.data = Some(config::default_data().join("demo-thelook"));
    }
    Ok(config::load(config::file_or_default(listen.config.as_ref()).as_deref(), std::env::vars(), overrides)?)
}

/// What one check found, for people.
fn check(args: &CheckArgs) -> anyhow::Result<String> {
    let file = config::file_or_default(args.config.as_ref());
    let overrides = Overrides { data: args.data.clone(), ..Overrides::default() };
    let config = config::load(file.as_deref(), std::env::vars(), overrides)?;
    let mut out = match &file {
        Some(file) => format!("{}: good\n", file.display()),
        None => "no config file: the defaults are used\n".to_owned(),
    };
    let dir = config.data.join("dashboards");
    let mut mistakes = Vec::new();
    if dir.is_dir() {
        for entry in dashboards::Library::open(&dir).context("cannot read the dashboards")?.list() {
            match &entry.mistake {
                None => out += &format!("{}: good\n", dir.join(format!("{}.toml", entry.name)).display()),
                Some(mistake) => mistakes.push(mistake.to_string()),
            }
        }
    }
    anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    Ok(out)
}

/// File descriptors: each viewer is one. The soft limit is often 1,024 where the hard one is a million.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::debug!(current = ?limit.current, "the limit of open files cannot be raised");
    }
}

fn serve(listen: &ListenArgs, demo_args: Option<&DemoArgs>) -> anyhow::Result<()> {
    let config = load(listen, demo_args.is_some())?;
    telemetry::start_logs(listen.log_format);
    raise_open_files();
    let metrics = telemetry::start_metrics()?;
    let io = tokio::runtime::Builder::new_multi_thread()
        .thread_name("nowcast-io")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    // Queries yield to sockets, the log and the views: a heavy one must not be felt on a screen.
    let queries = tokio::runtime::Builder::new_multi_thread()
        .thread_name("nowcast-query")
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(lower_priority)
        .enable_all()
        .build()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let query_runtime = queries.handle().clone();
    let outcome = io.block_on(async move {
        let signals = Signals::listen().context("cannot listen for signals")?;
        let listeners = Listeners::bind(&config, demo_args.is_some()).await?;
        if demo_args.is_some() {
            demo::write_dashboard(&config.data)?;
        }
        let control = demo_args.map(|_| Control::default());
        let start = crate::stages::Start {
            config: config.clone(),
            listeners,
            clock: Arc::clone(&clock),
            metrics,
            query_runtime,
            generator: control.clone(),
        };
        let server = Server::start(start).await?;
        let mut shop = None;
        if let (Some(args), Some(control)) = (demo_args, control.clone()) {
            let prepared = demo::prepare(&server, &*clock, args.seed, args.users_per_second).await?;
            if prepared.history_rows > 0 {
                let (rows, took) = (prepared.history_rows, prepared.took.as_secs_f64());
                tracing::info!("an hour of history: {rows} rows in {took:.1} s");
            }
            let task =
                demo::open_shop(&server, prepared.shop, args.seed, args.users_per_second, clock, control);
            shop = Some(task);
        }
        print(banner(&config, &server.addresses, demo_args.is_some()));
        signals.received().await;
        tracing::info!("ending");
        if let (Some(task), Some(control)) = (shop, control) {
            control.stop();
            let _ = tokio::time::timeout(std::time::Duration::from_millis(300), task).await;
        }
        server.stop().await;
        anyhow::Ok(())
    });
    io.shutdown_timeout(std::time::Duration::from_millis(200));
    queries.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}

fn lower_priority() {
    // On Linux a thread has a niceness of its own. Without the right to it queries run like the rest.
    let _ = rustix::process::nice(10);
}

/// What asks the process to end. Listened for before anybody is told that it runs.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn banner(config: &Config, addresses: &Addresses, is_demo: bool) -> String {
    let token = if config.raw.http.token.0.is_empty() { "" } else { "?token=…" };
    let mut out = format!("\nNowcast {} is ready\n\n", env!("CARGO_PKG_VERSION"));
    let page = if is_demo { "d/thelook" } else { "" };
    for address in &addresses.http {
        out += &format!("  page           http://{address}/{page}{token}\n");
    }
    for (setting, address) in config.http.iter().zip(&addresses.http) {
        out += &elsewhere(setting, address);
    }
    if let Some(address) = addresses.ilp {
        out += &format!("  line protocol  tcp://{address}\n");
        out += &config.ilp.map(|setting| elsewhere(&setting, &address)).unwrap_or_default();
    }
    if let Some(address) = addresses.pg {
        out += &format!("  PostgreSQL     postgresql://{}@{address}/nowcast\n", config.raw.pg.user);
        out += &config.pg.map(|setting| elsewhere(&setting, &address)).unwrap_or_default();
    }
    out += &format!("  data           {}\n", config.data.display());
    if is_demo {
        out += &format!("  dashboard      {}\n", config.data.join("dashboards/thelook.toml").display());
        out += "                 edit it: the open page follows\n";
    }
    if let Some(address) = addresses.http.first() {
        out += &format!("\n  send a row     curl -d 'weather,city=Bern t=21.5' http://{address}/write\n");
        out += &format!("  see it         http://{address}/t/weather\n");
    }
    out + "\nCtrl-C ends it; nothing is lost.\n\n"
}

fn elsewhere(setting: &std::net::SocketAddr, taken: &std::net::SocketAddr) -> String {
    if setting.port() == taken.port() || setting.port() == 0 {
        return String::new();
    }
    format!("                 (port {} is in use)\n", setting.port())
}
