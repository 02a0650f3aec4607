use std::{fs, path::Path};

use baton_embedded::{Options, Redis, RedisBinary};
use redis::{AsyncCommands, aio::MultiplexedConnection};

use crate::{Scratch, am_root, mode, start_redis};

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    redis::Client::open(url)?.get_multiplexed_async_connection().await
}

async fn error(dir: &Path) -> String {
    let binary = RedisBinary::find().unwrap();
    let error = Redis::start(&binary, dir, Options::kept()).await.unwrap_err().to_string();
    assert!(!error.contains('\n'), "not one line: {error}");
    error
}

#[tokio::test]
async fn data_survives_a_restart() {
    let scratch = Scratch::new();
    let dir = scratch.join("a clone/redis");
    let server = start_redis(&dir, Options::kept()).await;
    let mut client = connect(&server.url()).await.unwrap();
    client.set::<_, _, ()>("kept", "yes").await.unwrap();
    server.stop().await;

    let server = start_redis(&dir, Options::kept()).await;
    let mut client = connect(&server.url()).await.unwrap();
    assert_eq!(client.get::<_, String>("kept").await.unwrap(), "yes");
    assert_eq!(mode(&dir.join("redis.conf")), 0o600);
    assert_eq!(mode(&dir.join("password")), 0o600);
    server.stop().await;
}

#[tokio::test]
async fn password_is_required_and_throw_away_data_is_removed() {
    let scratch = Scratch::new();
    let dir = scratch.join("redis");
    let server = start_redis(&dir, Options::throw_away()).await;
    let mut stranger = connect(&format!("redis://127.0.0.1:{}/", server.port())).await.unwrap();
    let refused = stranger.get::<_, Option<String>>("x").await.unwrap_err();
    assert!(refused.to_string().contains("NOAUTH"), "{refused}");
    if am_root() && cfg!(target_os = "linux") {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
        assert!(!status.contains("Uid:\t0\t"), "{status}");
    }
    server.stop().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn folder_in_use_is_refused() {
    let scratch = Scratch::new();
    let dir = scratch.join("redis");
    let server = start_redis(&dir, Options::kept()).await;
    let error = error(&dir).await;
    assert!(error.contains("Redis is already running") && error.contains("Stop that process first"), "{error}");
    assert!(error.contains(&format!("(process {}, ", server.pid().unwrap())), "{error}");
    connect(&server.url()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn error_of_broken_data_names_the_remedy() {
    let scratch = Scratch::new();
    let dir = scratch.join("redis");
    start_redis(&dir, Options::kept()).await.stop().await;
    for entry in fs::read_dir(dir.join("data/appendonlydir")).unwrap() {
        fs::write(entry.unwrap().path(), "rubbish").unwrap();
    }
    let error = error(&dir).await;
    assert!(error.contains("Redis did not start") && error.contains("remove"), "{error}");
}
