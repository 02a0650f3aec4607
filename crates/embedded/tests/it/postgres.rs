use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Command, Stdio},
    time::Instant,
};

use baton_embedded::{Options, Postgres, PostgresBinaries};
use sqlx::{Connection, PgConnection};

use crate::{Scratch, am_root, mode, postgres_error, start_postgres, until};

async fn connect(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url("postgres", Postgres::SUPERUSER)).await.unwrap()
}

#[tokio::test]
async fn data_survives_a_restart() {
    let scratch = Scratch::new();
    // A path with a space, of which nothing exists yet.
    let dir = scratch.join("a clone/.baton/postgres");

    let postgres = start_postgres(&dir, Options::kept()).await;
    let mut db = connect(&postgres).await;
    sqlx::raw_sql("create table kept (word text); insert into kept values ('É')").execute(&mut db).await.unwrap();
    let durable: String = sqlx::query_scalar("show fsync").fetch_one(&mut db).await.unwrap();
    assert_eq!(durable, "on");
    // A connected client must not delay the shutdown.
    let before = Instant::now();
    postgres.stop().await;
    assert!(before.elapsed().as_secs() < 5);
    drop(db);

    let postgres = start_postgres(&dir, Options::kept()).await;
    let mut db = connect(&postgres).await;
    let word: String = sqlx::query_scalar("select lower(word) from kept").fetch_one(&mut db).await.unwrap();
    assert_eq!(word, "é");
    assert_eq!(mode(&dir.join("password")), 0o600);
    assert_eq!(mode(&dir.join("log")), 0o600);
    assert_eq!(mode(postgres.data_dir()), 0o700);
    if am_root() {
        assert_ne!(fs::metadata(postgres.data_dir()).unwrap().uid(), 0);
    }
    postgres.stop().await;
}

#[tokio::test]
async fn password_is_required() {
    let scratch = Scratch::new();
    let postgres = start_postgres(&scratch.join("postgres"), Options::throw_away()).await;
    let url = postgres.url("postgres", Postgres::SUPERUSER);
    let wrong = url.replace(postgres.password(), "guess");
    let error = PgConnection::connect(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    let error = PgConnection::connect(&url.replace(&format!(":{}", postgres.password()), "")).await.unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    postgres.stop().await;
}

#[tokio::test]
async fn throw_away_data_is_removed() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    let postgres = start_postgres(&dir, Options::throw_away()).await;
    let mut db = connect(&postgres).await;
    let durable: String = sqlx::query_scalar("show fsync").fetch_one(&mut db).await.unwrap();
    assert_eq!(durable, "off");
    postgres.stop().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn folder_in_use_is_refused() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    let postgres = start_postgres(&dir, Options::kept()).await;
    let error = postgres_error(&dir, Options::kept()).await;
    let (server, starter) = (postgres.pid().unwrap(), std::process::id());
    assert!(error.contains(&format!("already running on {}", dir.display())), "{error}");
    assert!(error.contains(&format!("(process {server}, started by process {starter})")), "{error}");
    assert!(error.contains("Stop that process first"), "{error}");
    connect(&postgres).await.ping().await.unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn stale_pid_file_is_removed() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    let mut postgres = start_postgres(&dir, Options::kept()).await;
    let mut db = connect(&postgres).await;
    sqlx::raw_sql("create table kept (word text)").execute(&mut db).await.unwrap();
    let pid = rustix::process::Pid::from_raw(postgres.pid().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    postgres.exited().await.unwrap();
    assert_eq!(postgres.pid(), None);

    // The pid belongs to another program now: this one.
    let pid_file = postgres.data_dir().join("postmaster.pid");
    let text = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();

    let postgres = start_postgres(&dir, Options::kept()).await;
    let mut db = connect(&postgres).await;
    sqlx::raw_sql("select * from kept").execute(&mut db).await.unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn server_started_by_hand_is_not_replaced() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    start_postgres(&dir, Options::kept()).await.stop().await;
    let data = dir.join("data");
    let owner = fs::metadata(&data).unwrap();
    let mut command = Command::new(PostgresBinaries::find().unwrap().bin_dir.join("postgres"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    command.arg("-D").arg(&data).args(["-p", &port, "-c", "unix_socket_directories="]);
    let mut by_hand = command.current_dir("/").stderr(Stdio::null()).uid(owner.uid()).gid(owner.gid()).spawn().unwrap();
    let pid_file = data.join("postmaster.pid");
    until("it has started", || fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready"))).await;

    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("already running") && error.contains(&format!("(process {})", by_hand.id())), "{error}");
    assert!(by_hand.try_wait().unwrap().is_none());

    let pid = rustix::process::Pid::from_child(&by_hand);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    by_hand.wait().unwrap();
}

#[tokio::test]
async fn role_password_is_valid_for_other_roles() {
    let scratch = Scratch::new();
    let postgres = start_postgres(&scratch.join("postgres"), Options::throw_away()).await;
    let create = format!("create role clerk login password '{}'", postgres.role_password());
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connect(&postgres).await).await.unwrap();
    PgConnection::connect(&postgres.url("postgres", "clerk")).await.unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn error_of_broken_data_names_the_file_and_the_remedy() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    start_postgres(&dir, Options::kept()).await.stop().await;
    let data = dir.join("data");

    fs::rename(data.join("postgresql.conf"), data.join("away")).unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("Postgres did not start") && error.contains("postgresql.conf"), "{error}");
    assert!(error.contains(&format!("Its log is {}", dir.join("log").display())), "{error}");
    fs::rename(data.join("away"), data.join("postgresql.conf")).unwrap();

    fs::rename(dir.join("password"), dir.join("away")).unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("password is missing"), "{error}");
    fs::rename(dir.join("away"), dir.join("password")).unwrap();

    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("written by Postgres 9") && error.contains("BATON_POSTGRES_BIN"), "{error}");

    fs::remove_file(data.join("PG_VERSION")).unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("PG_VERSION is missing"), "{error}");
    assert!(error.contains(&format!("Restore {} from a copy, or remove it", dir.display())), "{error}");
}

#[tokio::test]
async fn interrupted_initdb_is_restarted() {
    let scratch = Scratch::new();
    let dir = scratch.join("postgres");
    fs::create_dir_all(dir.join("data.new/base")).unwrap();
    fs::write(dir.join("data.new/PG_VERSION"), "15\n").unwrap();
    fs::write(dir.join("log"), "").unwrap();
    let postgres = start_postgres(&dir, Options::kept()).await;
    assert!(!dir.join("data.new").exists() && !dir.join("initdb-password").exists());
    postgres.stop().await;
}

#[tokio::test]
async fn foreign_folders_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.join("photos");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("holiday.jpg"), "").unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains("not Baton's"), "{error}");
    let error = postgres_error(&dir, Options::throw_away()).await;
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(mode(&dir), 0o755);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[tokio::test]
async fn inaccessible_folder_links_to_the_fallback() {
    if !am_root() {
        return;
    }
    let scratch = Scratch::new();
    let home = scratch.join("root");
    let dir = home.join(".baton/postgres");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();

    let postgres = start_postgres(&dir, Options::kept()).await;
    let place = fs::read_link(dir.join("elsewhere")).unwrap();
    assert!(postgres.data_dir().starts_with(&place) && place.starts_with("/var/lib/baton"));
    sqlx::raw_sql("create table kept (word text)").execute(&mut connect(&postgres).await).await.unwrap();
    postgres.stop().await;

    let postgres = start_postgres(&dir, Options::kept()).await;
    sqlx::raw_sql("select * from kept").execute(&mut connect(&postgres).await).await.unwrap();
    postgres.stop().await;

    fs::remove_dir_all(&place).unwrap();
    let error = postgres_error(&dir, Options::kept()).await;
    assert!(error.contains(&format!("{}, to which", place.display())), "{error}");

    let dir = home.join("throw-away");
    let postgres = start_postgres(&dir, Options::throw_away()).await;
    let place = fs::read_link(dir.join("elsewhere")).unwrap();
    postgres.stop().await;
    assert!(!place.exists() && !dir.exists());
}
