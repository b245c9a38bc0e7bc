//! The ordeal on three nodes: processes with folders of their own, the ledger on a PostgreSQL server, all else in an S3
//! store. Nodes die and stand still, the server restarts and crashes, and the network between them is cut.

use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use wavebatch::sandbox::{Config, Sandbox};

use super::super::{
    postgres::Cluster,
    proxy::{After, Proxy, Target},
};
use super::{
    BUCKET, CALM, Deeds, LEASE, Plan, S3Server, Verdict,
    dice::Dice,
    ledger::Ledger,
    processes::{self, Ended, Processes, Role},
    spoil,
    verdict::{Evidence, Spool},
    work::{Place, Work},
};

const NODES: [&str; 3] = ["a", "b", "c"];
/// Nodes with a receiver.
const RECEIVERS: usize = 2;
const SCHEMA: &str = "ordeal";
const SPOOL: &str = "spool/";
/// A node that cannot open the ledger ends within this time, and its supervisor starts it again.
const AT_START: Duration = Duration::from_secs(20);

/// What is wrong for a while.
enum Trouble {
    /// The network of these nodes is cut.
    Cut { nodes: Vec<usize>, until: Instant },
    /// The server is down, or starts again, since then.
    Down { since: Instant },
}

/// All that an ordeal disturbs.
struct Stage {
    server: Cluster,
    /// To the server, past all networks.
    admin: PgConnectOptions,
    /// Between each node and the server.
    networks: Vec<Proxy>,
    processes: Processes,
    ledger: Ledger,
    trouble: Option<Trouble>,
    /// When the last trouble was over.
    peace_since: Instant,
    /// Nodes that are started again, and when.
    resting: Vec<(usize, Instant)>,
    /// A process was killed while the ledger could not be asked what it had on the wire.
    owes_look: bool,
    deeds: Deeds,
}

/// All of it: the ordeal, the calm after it, and the verdict. The programs of PostgreSQL are in `bin`.
pub async fn ordeal_of_nodes(plan: &Plan, bin: &Path) -> Verdict {
    let began = Instant::now();
    // It stays where something is broken.
    let dir = TempDir::new().expect("a temporary folder").keep();
    let config = Config {
        latency: Duration::from_millis(200),
        webhook_backoff: Duration::from_millis(300),
        keep: 1_000_000,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a sandbox");
    let s3 = S3Server::start().await;
    s3.bucket(BUCKET);
    let server = Cluster::with(bin, "");
    let mut dice = Dice::new(plan.seed);
    let (mut stage, mut work, _balancer) = Stage::set(plan, &dir, server, (&sandbox, &s3));
    stage.submit(&mut work, &mut dice).await;
    stage.processes.enter(&mut dice);
    while stage.deeds.kills() < plan.kills || began.elapsed() < plan.time {
        tokio::time::sleep(dice.millis(20..220)).await;
        stage.disturb(&mut dice).await;
        spoil(&s3, &mut dice, &mut stage.deeds);
        let is_calm = stage.trouble.is_none() && stage.ledger.unfinished().await.is_some_and(|left| left.is_empty());
        if is_calm {
            stage.submit(&mut work, &mut dice).await;
        }
    }
    let disturbed = began.elapsed();
    s3.lift();
    stage.deeds.refused = s3.met();
    stage.calm_down().await;
    let last = stage.processes.last_runs(&["work", "-q", "--config", "../wavebatch.toml"]);
    let clean = work.undisturbed(plan).await;
    let nodes = NODES.iter().map(|name| dir.join(name)).collect();
    Verdict::find(Evidence {
        plan,
        deeds: &stage.deeds,
        disturbed,
        work: &work,
        books: sandbox.books(),
        s3: &s3,
        ledger: stage.ledger,
        spool: Spool::Bucket { name: SPOOL, nodes },
        dir,
        clean,
        last,
    })
    .await
}

impl Stage {
    /// Nodes that are not started yet, what they are to do, and who spreads the callbacks.
    fn set(plan: &Plan, dir: &Path, server: Cluster, (sandbox, s3): (&Sandbox, &S3Server)) -> (Self, Work, Proxy) {
        let socket = server.dir.join(".s.PGSQL.5432");
        let networks: Vec<Proxy> = NODES.iter().map(|_| Proxy::before(vec![Target::Socket(socket.clone())])).collect();
        let ports: Vec<u16> = (0..RECEIVERS).map(|_| processes::free_port()).collect();
        let receivers = ports.iter().map(|port| Target::Port(([127, 0, 0, 1], *port).into())).collect();
        let balancer = Proxy::before(receivers);
        let roles = NODES.iter().enumerate().map(|(at, name)| {
            let folder = dir.join(name);
            let port = networks[at].addr.port();
            let url = format!("postgres://wavebatch@127.0.0.1:{port}/postgres?schema={SCHEMA}&sslmode=disable");
            let listen = ports.get(at).map_or("off".into(), |port| format!("127.0.0.1:{port}"));
            role(name, folder, (url, s3), &["--config", "../wavebatch.toml", "--listen", &listen])
        });
        let roles = roles.collect();
        let clerk = role("clerk", dir.into(), (server.url(SCHEMA), s3), &[]);
        let place = Place {
            public: balancer.addr.to_string(),
            listen: None,
            settings: format!("spool = \"s3://{BUCKET}/{SPOOL}\"\n[s3]\nendpoint_url = \"{}\"\n", s3.endpoint()),
            has_no_folder: true,
        };
        let work = Work::new(dir, plan, &place);
        let admin: PgConnectOptions = format!("postgres://wavebatch@localhost/postgres?host={}", server.dir.display())
            .parse()
            .expect("an address");
        let stage = Self {
            processes: Processes::new(plan, &sandbox.base_url(), clerk, roles),
            ledger: Ledger::on_server(admin.clone().options([("search_path", SCHEMA)])),
            server,
            admin: admin.application_name("ordeal").disable_statement_logging(),
            networks,
            trouble: None,
            peace_since: Instant::now(),
            resting: Vec::new(),
            owes_look: false,
            deeds: Deeds::default(),
        };
        (stage, work, balancer)
    }

    /// The next round of batches; now and then the submitter dies. It is done again until it is done.
    async fn submit(&mut self, work: &mut Work, dice: &mut Dice) {
        for definition in work.next_round(dice) {
            let args = ["submit", definition.as_str(), "-q"];
            if dice.percent(30) {
                let mut submitter = self.processes.program(&args, "submit").spawn().expect("the program");
                tokio::time::sleep(dice.millis(5..150)).await;
                let _ = submitter.kill();
                let _ = submitter.wait();
                self.deeds.submits_killed += 1;
            }
            let submitter = self.processes.program(&args, "submit").spawn().expect("the program");
            processes::ended(submitter, &definition, &work.dir).await;
        }
    }

    async fn disturb(&mut self, dice: &mut Dice) {
        if self.owes_look {
            self.owes_look = !self.deeds.look(&mut self.ledger, None).await;
        }
        self.find_the_dead(dice).await;
        self.raise_the_dead(dice);
        self.processes.go_on();
        self.end_trouble(dice).await;
        let victim = dice.pick(&[0, 1, 2]);
        match dice.roll(0..1_000) {
            0..40 if !self.processes.is_stopped(victim) && !self.processes.is_gone(victim) => {
                self.kill(victim).await;
                self.rest(victim, dice);
            }
            40..50 if !self.processes.any_stopped() && !self.processes.is_gone(victim) => {
                self.processes.stop(victim, LEASE + dice.millis(0..8_000));
                self.look(None).await;
                self.deeds.stops += 1;
            }
            50..80 if self.trouble.is_none() => self.make_trouble(victim, dice).await,
            80..110 if self.trouble.is_none() => self.end_sessions().await,
            _ => {}
        }
    }

    async fn look(&mut self, pid: Option<u32>) {
        self.owes_look |= !self.deeds.look(&mut self.ledger, pid).await;
    }

    /// Stopped first, so that the ledger can be asked what it has on the wire.
    async fn kill(&mut self, node: usize) {
        self.processes.stop(node, Duration::ZERO);
        self.look(Some(self.processes.pid(node))).await;
        self.processes.kill(node);
        *self.deeds.kills.entry("any").or_default() += 1;
    }

    /// A supervisor starts a dead node again: soon, or when others have taken its lines over.
    fn rest(&mut self, node: usize, dice: &mut Dice) {
        let pause = if dice.percent(70) { dice.millis(0..2_000) } else { dice.millis(5_000..12_000) };
        self.resting.push((node, Instant::now() + pause));
    }

    fn raise_the_dead(&mut self, dice: &mut Dice) {
        let now = Instant::now();
        for (node, _) in self.resting.extract_if(.., |(_, at)| *at <= now) {
            self.processes.enter_again(node, dice);
        }
    }

    async fn find_the_dead(&mut self, dice: &mut Dice) {
        for Ended { at, status, lived } in self.processes.ended() {
            self.look(Some(self.processes.pid(at))).await;
            let peace = if self.trouble.is_some() { Duration::ZERO } else { self.peace_since.elapsed() };
            match (status.signal(), status.code()) {
                (Some(9), _) => *self.deeds.kills.entry(self.processes.moment(at)).or_default() += 1,
                (_, Some(3)) if lived < AT_START && peace < lived + AT_START => {
                    self.deeds.count("nodes that could not open the ledger, and were started again");
                }
                _ => self.deeds.broken.push(format!("node {} ended by itself after {lived:.1?}: {status}", NODES[at])),
            }
            self.rest(at, dice);
        }
    }

    async fn make_trouble(&mut self, victim: usize, dice: &mut Dice) {
        let (down, for_seconds) = (dice.roll(0..12), dice.millis(5_000..40_000));
        let now = Instant::now();
        self.trouble = match dice.roll(0..100) {
            0..35 => {
                self.deeds.count("cuts of one node's network, of 5 to 40 s");
                Some(Trouble::Cut { nodes: vec![victim], until: now + for_seconds })
            }
            35..50 => {
                self.deeds.count("cuts of all networks, of 5 to 40 s");
                Some(Trouble::Cut { nodes: vec![0, 1, 2], until: now + for_seconds })
            }
            50..70 => {
                self.deeds.count("restarts of the server");
                writeln!(self.server._keeper, "INT {down}").expect("a keeper");
                Some(Trouble::Down { since: now })
            }
            70..90 => {
                self.deeds.count("crashes of the server");
                writeln!(self.server._keeper, "QUIT {down}").expect("a keeper");
                Some(Trouble::Down { since: now })
            }
            _ => self.kill_backend().await.then_some(Trouble::Down { since: now }),
        };
        if let Some(Trouble::Cut { nodes, .. }) = &self.trouble {
            nodes.iter().for_each(|node| self.networks[*node].cut());
            // A node without its ledger counts as killed.
            self.look(None).await;
        }
    }

    /// Kills one process of the server, as a system without memory does: the server then ends all sessions.
    async fn kill_backend(&mut self) -> bool {
        let Ok(mut admin) = self.admin.connect().await else { return false };
        let pid: Option<i32> =
            sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE application_name = 'wavebatch' LIMIT 1")
                .fetch_optional(&mut admin)
                .await
                .unwrap_or_default();
        let Some(pid) = pid.and_then(Pid::from_raw) else { return false };
        self.deeds.count("processes of the server killed");
        kill_process(pid, Signal::KILL).is_ok()
    }

    async fn end_trouble(&mut self, dice: &mut Dice) {
        match &self.trouble {
            Some(Trouble::Cut { nodes, until }) if *until <= Instant::now() => {
                let after = dice.pick(&[After::Arrive, After::Break, After::Vanish]);
                nodes.iter().for_each(|node| self.networks[*node].heal(after));
            }
            // It may not have begun to end before.
            Some(Trouble::Down { since }) if since.elapsed() > Duration::from_secs(1) => {
                if self.admin.connect().await.is_err() {
                    return;
                }
            }
            _ => return,
        }
        if let Some(Trouble::Cut { .. }) = self.trouble.take() {
            self.look(None).await;
        }
        self.peace_since = Instant::now();
    }

    /// Ends the session of one who commits, or else of who has the ledger's lock, if there is one soon.
    async fn end_sessions(&mut self) {
        const COMMITS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'wavebatch' AND state = 'active' AND query LIKE 'INSERT INTO writers%COMMIT'";
        const WRITES: &str =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_stat_activity AS a USING (pid)
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND a.application_name = 'wavebatch'";
        let Ok(mut admin) = self.admin.connect().await else { return };
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(600) {
            if ended(&mut admin, COMMITS).await > 0 {
                return self.deeds.count("sessions ended in a commit");
            }
            if began.elapsed() > Duration::from_millis(400) && ended(&mut admin, WRITES).await > 0 {
                return self.deeds.count("sessions ended in a transaction");
            }
        }
    }

    /// The last kills. From now on all is well, and what is left has to be done soon.
    async fn calm_down(&mut self) {
        self.networks.iter().for_each(|network| network.heal(After::Arrive));
        while self.admin.connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut dice = Dice::new(0);
        self.look(None).await;
        self.find_the_dead(&mut dice).await;
        for node in 0..NODES.len() {
            if !self.processes.is_gone(node) {
                self.kill(node).await;
            }
            self.processes.enter_for_good(node);
        }
        let (calm, nodes) = (Instant::now(), i64::try_from(NODES.len()).expect("few"));
        while calm.elapsed() < CALM {
            let left = self.ledger.unfinished().await.is_none_or(|left| !left.is_empty());
            if !left && self.ledger.processes().await == nodes {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.processes.leave().await;
    }
}

async fn ended(admin: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(admin).await.unwrap_or_default()
}

fn role(name: &str, folder: PathBuf, (ledger, s3): (String, &S3Server), args: &[&str]) -> Role {
    std::fs::create_dir_all(&folder).expect("a folder");
    let receives = args.last().is_some_and(|listen| *listen != "off");
    let mut variables = s3.environment().to_vec();
    variables.push(("WAVEBATCH_DATABASE", ledger));
    // All nodes have the same.
    variables.extend(["WAVEBATCH_WEBHOOK_SECRET", "WAVEBATCH_NOTIFY_SECRET"].map(|name| (name, "5e".repeat(32))));
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Role { name: name.into(), folder, args, variables, receives, works: true, dies: (60, 15) }
}
