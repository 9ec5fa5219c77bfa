//! `cargo xtask conformance` and `cargo xtask fuzz`: foreign clients, and hostile bytes, for as long as asked.

use anyhow::{Context, Result, bail};

use crate::peers::{self, Peer, Status};
use crate::summary::Summary;
use crate::test::{self, Built, Program};
use crate::workspace::{self, Workspace};

/// Which clients and how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this peer's tests: `java`, `librdkafka`, or a language of the matrix.
    #[arg(long)]
    peer: Option<String>,
    /// Only test programs with this in their name, for example `groups`.
    #[arg(long)]
    only: Option<String>,
    /// Run the tests against Apache Kafka instead, to see that they are right.
    #[arg(long)]
    against_kafka: bool,
    /// How often the crash test kills the node.
    #[arg(long)]
    kills: Option<u32>,
}

/// How much to mutate.
#[derive(clap::Args)]
pub(crate) struct FuzzArguments {
    /// Frames sent over the socket of a real node.
    #[arg(long, default_value_t = 100_000)]
    frames: u32,
    /// Mutated inputs for each decoder.
    #[arg(long, default_value_t = 1_000_000)]
    cases: u32,
    /// Seed of all of it.
    #[arg(long)]
    seed: Option<u64>,
}

/// Variables that the test programs read.
type Environment = Vec<(&'static str, String)>;

/// Runs the chosen conformance tests.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.peer {
        require(name)?;
    }
    let prepared = Prepared::new(&["conformance"])?;
    let mut summary = Summary::default();
    prepared.run(&mut summary, &environment(arguments), "", |p| {
        p.package == "conformance" && wanted(arguments, &p.name)
    });
    prepared.verdict(&summary)
}

/// Mutates frames over a socket and inputs of every decoder.
pub(crate) fn fuzz(arguments: &FuzzArguments) -> Result<()> {
    let mut environment: Environment = vec![
        ("OTTLA_FRAMES", arguments.frames.to_string()),
        ("OTTLA_CASES", arguments.cases.to_string()),
    ];
    if let Some(seed) = arguments.seed {
        environment.push(("OTTLA_SEED", seed.to_string()));
    }
    let prepared =
        Prepared::new(&["conformance", "protocol", "record", "log", "metadata", "group"])?;
    let mut summary = Summary::default();
    if 0 < arguments.frames {
        prepared.run(&mut summary, &environment, "", |p| p.name.ends_with(" hostile"));
    }
    if 0 < arguments.cases {
        // Of these programs only what reads damaged bytes: the others count their cases otherwise.
        prepared.run(&mut summary, &environment, "damaged", |p| p.name.ends_with(" generated"));
    }
    prepared.verdict(&summary)
}

fn require(name: &str) -> Result<()> {
    let found = peers::prepare_all(&workspace::load()?);
    match found.iter().find(|(p, _)| p.name == name) {
        Some((_, Status::Ready)) => Ok(()),
        Some(_) => bail!("{name} cannot be had\n{}", peers::table(&found)),
        None => bail!("no peer is called `{name}`"),
    }
}

fn environment(arguments: &Arguments) -> Environment {
    let mut environment = Environment::new();
    if arguments.against_kafka {
        environment.push(("OTTLA_CONFORMANCE_TARGET", "kafka".to_string()));
    }
    if let Some(kills) = arguments.kills {
        environment.push(("OTTLA_KILLS", kills.to_string()));
    }
    environment
}

fn wanted(arguments: &Arguments, program: &str) -> bool {
    let by_peer = match arguments.peer.as_deref() {
        Some("librdkafka") => program.ends_with(" librdkafka"),
        Some("kcat") => program.ends_with(" kcat"),
        Some("python" | "python-old" | "node" | "go" | "kafka-clients") => {
            program.ends_with(" matrix")
        }
        Some("java") => {
            [" librdkafka", " kcat", " matrix"].iter().all(|other| !program.ends_with(other))
        }
        _ => true,
    };
    by_peer && arguments.only.as_ref().is_none_or(|only| program.contains(only.as_str()))
}

/// The foreign programs that there are, and our test programs and server, built.
struct Prepared {
    workspace: Workspace,
    found: Vec<(&'static Peer, Status)>,
    built: Built,
}

impl Prepared {
    fn new(packages: &[&str]) -> Result<Self> {
        let workspace = workspace::load()?;
        let found = peers::prepare_all(&workspace);
        // What is missing is skipped, what is wrong is not.
        peers::verdict(&found, false).with_context(|| peers::table(&found))?;
        let built = test::build(&workspace, &test::features(&found), packages)?;
        Ok(Self { workspace, found, built })
    }

    fn run(
        &self,
        summary: &mut Summary,
        environment: &Environment,
        tests: &str,
        chosen: impl Fn(&Program) -> bool,
    ) {
        let mut environment = environment.clone();
        environment.push(peers::unreachable(&self.found));
        test::run_programs(&self.workspace, &self.built, summary, &environment, tests, chosen);
    }

    fn verdict(&self, summary: &Summary) -> Result<()> {
        println!("\n{}\n\n{}", peers::table(&self.found), summary.render());
        match summary.totals() {
            (0, 0) => bail!("no test program was chosen"),
            (_, 0) => Ok(()),
            (_, failed) => bail!("{failed} tests failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(peer: Option<&str>) -> Arguments {
        Arguments {
            peer: peer.map(String::from),
            only: None,
            against_kafka: true,
            kills: Some(200),
        }
    }

    #[test]
    fn a_peer_chooses_its_programs() {
        assert!(wanted(&arguments(Some("librdkafka")), "conformance librdkafka"));
        assert!(!wanted(&arguments(Some("librdkafka")), "conformance groups"));
        assert!(!wanted(&arguments(Some("java")), "conformance librdkafka"));
    }

    #[test]
    fn arguments_reach_the_programs_as_variables() {
        let expected = vec![
            ("OTTLA_CONFORMANCE_TARGET", "kafka".to_string()),
            ("OTTLA_KILLS", "200".to_string()),
        ];
        assert_eq!(environment(&arguments(None)), expected);
    }
}
