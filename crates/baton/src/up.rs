//! `baton up`: the whole platform on one machine.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use baton_embedded::Options;
use baton_files::{Files, FilesConfig};
use baton_mailbox::Mailbox;
use baton_runtime::{Clock, Env, Shutdown, process};
use tokio::net::TcpListener;

use crate::{
    demo,
    embedded::{Servers, step},
    files, migrate,
    platform::{self, Bound, services},
    secrets,
};

/// Requests without a token that one address may make in an hour, by default.
const ANONYMOUS_REQUESTS_PER_HOUR: &str = "10000";

pub(crate) async fn run(mut env: Env, data: &Path, demo: bool) -> anyhow::Result<ExitCode> {
    println!("Starting Baton");
    fs::create_dir_all(data).with_context(|| {
        format!("cannot make the folder {}; run from a folder that you may write to", data.display())
    })?;
    secrets::provide(&mut env, data)?;
    // The port that people see is checked before anything is started.
    env.set_default("BATON_GATEWAY_LISTEN", "127.0.0.1:8080");
    let address = env.get("BATON_GATEWAY_LISTEN").unwrap_or_default();
    let address = address.parse().context("BATON_GATEWAY_LISTEN is not an address such as 127.0.0.1:8080")?;
    let gateway = process::bind(address, "BATON_GATEWAY_LISTEN").await?;
    // All requests come from one address here, and the limit is meant for many.
    env.set_default("BATON_GATEWAY_REQUESTS_PER_HOUR_ANONYMOUS", ANONYMOUS_REQUESTS_PER_HOUR);

    files::provide(&mut env, data)?;
    let servers = Servers::start(&env, data, Options::kept()).await?;
    let done = serve(env, &servers, gateway, demo).await;
    println!("Stopping");
    servers.stop().await;
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(mut env: Env, servers: &Servers, gateway: TcpListener, demo: bool) -> anyhow::Result<()> {
    step("migrations", migrate::all(&servers.database_url)).await?;
    servers.provide(&mut env);
    env.set_default("BATON_LOG", "warn");
    env.set_default("BATON_GATEWAY_REFLECTION", "true");
    env.set_default("BATON_LOG_FORMAT", "text");
    // Whoever reads the mailbox signs in as anybody, and the demo account's password is known to everybody: both are for
    // the people at this machine.
    let address = gateway.local_addr()?;
    let is_local = address.ip().is_loopback();
    demo::set_open(&servers.database_url, is_local).await?;
    if is_local {
        // Nor are they for pages elsewhere whose name was rebound to this address.
        env.set_default("BATON_GATEWAY_ALLOWED_HOSTS", "localhost");
        // A receiver of webhooks that is being written runs here, too.
        env.set_default("BATON_OUTBOUND_ALLOWED_NETWORKS", "127.0.0.0/8");
    }
    let url = format!("http://{address}");
    env.set_default("BATON_PUBLIC_URL", url.as_str());

    // Mail goes to a server if one is configured, else to the dev mailbox, over SMTP either way.
    let mailbox = Mailbox::new();
    let own_mailbox = env.get("BATON_SMTP_URL").is_none();
    let mail = free_port().await?;
    env.set_default("BATON_SMTP_URL", format!("smtp://{}", mail.local_addr()?));
    let extra = if own_mailbox && is_local { mailbox.router() } else { axum::Router::new() };
    env.set_default("BATON_TASK_ATTACHMENTS_PUBLIC_URL", url.as_str());
    env.set_default("BATON_PRIVACY_PUBLIC_URL", url.as_str());
    let extra = extra.merge(files::router(&Files::open(&FilesConfig::from_env(&env)?, Clock::system())?));

    let mut bound = Vec::new();
    for service in services() {
        let Some(spec) = service.spec else { continue };
        let variable = service.listen_variable();
        let listener = match env.get(&variable) {
            Some(address) => {
                let address = address.parse().with_context(|| format!("{variable} is not an address"))?;
                process::bind(address, &variable).await?
            }
            None => free_port().await?,
        };
        env.set(spec.url_variable(), format!("http://{}", listener.local_addr()?));
        bound.push(Bound { service, listener });
    }
    let service = services().iter().find(|service| service.spec.is_none()).context("there is a gateway")?;
    bound.push(Bound { service, listener: gateway });

    let env = &env;
    process::run("baton", env, |shutdown| async move {
        tokio::spawn(mailbox.clone().serve(mail, shutdown.stop().clone()));
        let offers = Offers { mailbox: own_mailbox && is_local, demo: demo && own_mailbox && is_local, is_local };
        let greet = greet(env, servers, &mailbox, &url, offers, &shutdown);
        let run = platform::run(env, bound, extra, &shutdown);
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => return ended,
            greeted = greet => if let Err(error) = greeted {
                shutdown.now();
                run.await?;
                return Err(error);
            },
        }
        run.await
    })
    .await
}

/// What is there for the people at this machine only.
#[derive(Debug, Clone, Copy)]
struct Offers {
    mailbox: bool,
    demo: bool,
    /// Whether the gateway listens on a loopback address.
    is_local: bool,
}

/// Makes the demo account in an empty database, and says where everything is.
async fn greet(
    env: &Env,
    servers: &Servers,
    mailbox: &Mailbox,
    url: &str,
    offers: Offers,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    if offers.demo && demo::is_wanted(&servers.database_url).await? {
        let make = demo::make(env, mailbox, &servers.database_url);
        let made = tokio::select! {
            made = step("demo account", make) => made,
            () = shutdown.draining().cancelled() => return Ok(()),
        };
        made.context("cannot make the demo account; start with --no-demo to go without")?;
    }
    println!(
        "\nBaton is up. Ctrl-C stops it; starting it again finds the data.\n\n  \
         API        {url}/v1\n  docs       {url}/docs\n  OpenAPI    {url}/openapi.json\n  \
         live       ws{}/cable",
        url.trim_start_matches("http"),
    );
    if offers.mailbox {
        println!("  mailbox    {url}/dev/mailbox");
    }
    println!();
    if !offers.is_local {
        println!(
            "There are neither a mailbox nor a demo account: BATON_GATEWAY_LISTEN is no loopback address, and others \
             could read the one and sign in to the other. Set BATON_SMTP_URL to send mail.\n"
        );
    }
    if offers.is_local && demo::is_there(&servers.database_url).await? {
        println!("Sign in as {} with the password: {}\n\nTry:\n\n{}\n", demo::OWNER, demo::PASSWORD, demo::curl(url));
    }
    Ok(())
}

async fn free_port() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")
}
