//! From arguments to an exit code.

use std::ffi::OsString;
use std::io;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::args::StorageInfoArgs;
use crate::args::{Cli, Command, DevArgs, ServerArgs, StorageCommand, StorageFormatArgs};
use crate::commands;
use crate::exit::{Exit, Failure};
use crate::names;
use crate::terminal::Terminal;

/// Commands that need the broker, and are carried out by the binary.
#[derive(Clone, Debug)]
pub enum Local {
    /// Run a node.
    Server(ServerArgs),
    /// Run a throw-away node.
    Dev(DevArgs),
    /// Format a node's directories.
    StorageFormat(StorageFormatArgs),
    /// Show how a node's directories are formatted.
    StorageInfo(StorageInfoArgs),
}

impl Cli {
    /// Reads a command line, program name first. Without a command it is that of `server`:
    /// `ottla a.properties --override k=v` is `ottla server a.properties --override k=v`.
    ///
    /// # Errors
    /// What clap says about it; `exit` on the error prints it and ends with its code.
    pub fn from_arguments<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let of_server = arguments.get(1).and_then(|first| first.to_str()).is_some_and(|first| {
            let option = first.split('=').next().unwrap_or(first);
            ["--override", "--strict", "--log-format"].contains(&option)
                || first.ends_with(".properties")
        });
        if of_server {
            arguments.insert(1, OsString::from("server"));
        }
        let mut command = Self::command();
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        let given = matches.value_source("brokers") != Some(ValueSource::DefaultValue);
        let cli = Self::from_arg_matches_mut(&mut matches);
        let mut cli = cli.map_err(|error| error.format(&mut command))?;
        cli.connection.brokers_given = given;
        Ok(cli)
    }

    /// The command, if it is one for the binary and not for [`run`].
    pub fn local(&self) -> Option<Local> {
        match &self.command {
            None => Some(Local::Server(ServerArgs::default())),
            Some(Command::Server(args)) => Some(Local::Server(args.clone())),
            Some(Command::Dev(args)) => Some(Local::Dev(args.clone())),
            Some(Command::Storage(StorageCommand::Format(args))) => {
                Some(Local::StorageFormat(args.clone()))
            }
            Some(Command::Storage(StorageCommand::Info(args))) => {
                Some(Local::StorageInfo(args.clone()))
            }
            Some(_) => None,
        }
    }

    /// The terminal as the arguments want it used.
    pub fn terminal(&self) -> Terminal {
        Terminal::new(self.output, self.color, self.no_header, self.quiet)
    }
}

/// Carries out a command that [`Cli::local`] does not name; reports its failure on stderr.
pub async fn run(cli: Cli) -> Exit {
    let terminal = cli.terminal();
    match dispatch(cli, terminal).await {
        Ok(exit) => exit,
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit
        }
    }
}

async fn dispatch(cli: Cli, terminal: Terminal) -> Result<Exit, Failure> {
    let connection = &cli.connection;
    let done = match cli.command {
        Some(Command::Topic(command)) => commands::topic::run(command, connection, terminal).await,
        Some(Command::Produce(args)) => commands::produce::run(args, connection, terminal).await,
        Some(Command::Consume(args)) => commands::consume::run(args, connection, terminal).await,
        Some(Command::Group(command)) => commands::group::run(command, connection, terminal).await,
        Some(Command::Config(command)) => {
            commands::config::run(command, connection, terminal).await
        }
        Some(Command::Cluster(command)) => {
            commands::cluster::run(command, connection, terminal).await
        }
        Some(Command::Quorum(command)) => {
            commands::quorum::run(command, connection, terminal).await
        }
        Some(Command::Doctor(args)) => commands::doctor::run(args, connection, terminal).await,
        Some(Command::Log(command)) => commands::log::run(command, terminal),
        Some(Command::Metadata(command)) => commands::metadata::run(command, terminal),
        Some(Command::Storage(command)) => commands::storage::run(&command, terminal),
        Some(Command::LinkTools(args)) => names::link_tools(&args, terminal),
        Some(Command::Version) => commands::version::run(terminal),
        Some(Command::Completion { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "ottla", &mut io::stdout());
            Ok(Exit::Ok)
        }
        None | Some(Command::Server(_) | Command::Dev(_)) => {
            Err(Failure::usage("this command is carried out by the binary"))
        }
    };
    match done {
        // Whoever reads our output has had enough (`| head`): that is no failure.
        Err(failure) if failure.message.contains("Broken pipe") => Ok(Exit::Ok),
        done => done,
    }
}
