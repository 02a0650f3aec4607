//! tmp
use baton_embedded::*;
use sqlx::Connection;
#[tokio::main]
async fn main() {
    let dir = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let t = std::time::Instant::now();
    let pg = match Postgres::start(&PostgresBinaries::find().unwrap(), &dir, Options::kept()).await {
        Ok(p) => p,
        Err(e) => {
            eprintln!("{e}");
            return;
        }
    };
    eprintln!("start {:?} {}", t.elapsed(), pg.data_dir().display());
    let t = std::time::Instant::now();
    for _ in 0..20 {
        let c = sqlx::PgConnection::connect(&pg.url("postgres", "postgres")).await.unwrap();
        c.close().await.unwrap();
    }
    eprintln!("connect {:?}", t.elapsed() / 20);
    if std::env::args().nth(2).is_some() {
        std::future::pending::<()>().await
    }
    let t = std::time::Instant::now();
    pg.stop().await;
    eprintln!("stop {:?}", t.elapsed());
}
