//! The demo account: a small company with work in every state, made through the platform's own calls.

use anyhow::{Context, bail};
use baton_mailbox::Mailbox;
use baton_proto::{
    baton::{
        auth::v1::{LoginRequest, RegisterRequest, VerifyEmailRequest, auth_service_client::AuthServiceClient},
        task::v1::{
            AcceptTaskRequest, AssignTaskRequest, CompleteTaskRequest, CreateTaskRequest, PauseTaskRequest,
            StartTaskRequest, TaskPriority, TaskVisibility, task_service_client::TaskServiceClient,
        },
        tenancy::v1::{
            AcceptInvitationRequest, CreateAccountRequest, InviteMemberRequest, Role,
            account_service_client::AccountServiceClient, member_service_client::MemberServiceClient,
        },
    },
    convert::timestamp,
};
use baton_runtime::{Clock, Env};
use chrono::TimeDelta;
use sqlx::{Connection, PgConnection};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

/// Whom to sign in as.
pub(crate) const OWNER: &str = "owner@demo.baton.example";
/// The password of everyone in the demo account.
pub(crate) const PASSWORD: &str = "relay-lantern-tide-42";

/// Address, names, role, and whom they report to: by index, always someone before them.
const PEOPLE: [(&str, &str, &str, Role, Option<usize>); 8] = [
    (OWNER, "Olive", "Owner", Role::Owner, None),
    ("super@demo.baton.example", "Sol", "Super", Role::SuperManager, Some(0)),
    ("mara@demo.baton.example", "Mara", "Manager", Role::Manager, Some(1)),
    ("milo@demo.baton.example", "Milo", "Manager", Role::Manager, Some(1)),
    ("ada@demo.baton.example", "Ada", "User", Role::User, Some(2)),
    ("ben@demo.baton.example", "Ben", "User", Role::User, Some(2)),
    ("cleo@demo.baton.example", "Cleo", "User", Role::User, Some(3)),
    ("dan@demo.baton.example", "Dan", "User", Role::User, Some(3)),
];

const WORK: [&str; 15] = [
    "Renew the office lease",
    "Fix the login page on small screens",
    "Prepare the quarterly report",
    "Order laptops for new colleagues",
    "Plan the customer day",
    "Review the privacy notice",
    "Migrate the wiki",
    "Write release notes",
    "Call back the supplier",
    "Clean up old branches",
    "Interview candidates",
    "Update the price list",
    "Test the backup",
    "Translate the handbook",
    "Measure page load times",
];

/// Whether the database is empty.
pub(crate) async fn is_wanted(database_url: &str) -> anyhow::Result<bool> {
    scalar(database_url, "select not exists (select from auth.users)").await
}

/// Whether the demo account was made here.
pub(crate) async fn is_there(database_url: &str) -> anyhow::Result<bool> {
    scalar(database_url, "select exists (select from auth.users where email = 'owner@demo.baton.example')").await
}

/// Lets the people of the demo account sign in, or keeps everybody from doing so as one of them: their password is no
/// secret. To be called before anything serves. Who deactivated their sign-in themselves has a date for their data.
pub(crate) async fn set_open(database_url: &str, open: bool) -> anyhow::Result<()> {
    let people = PEOPLE.map(|(email, ..)| email.to_owned());
    let mut conn = PgConnection::connect(database_url).await?;
    let change = if open {
        "update auth.users set deactivated_at = null
         where email_key = any($1) and deactivated_at is not null and data_retention_date is null"
    } else {
        "with closed as (
             update auth.sessions set closed_at = now(), close_reason = 'deactivated'
             where closed_at is null and user_id in (select id from auth.users where email_key = any($1)))
         update auth.users set deactivated_at = now() where email_key = any($1) and deactivated_at is null"
    };
    sqlx::query(change).bind(&people[..]).execute(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

async fn scalar(database_url: &str, sql: &'static str) -> anyhow::Result<bool> {
    let mut conn = PgConnection::connect(database_url).await?;
    let answer = sqlx::query_scalar(sql).fetch_one(&mut conn).await?;
    conn.close().await?;
    Ok(answer)
}

/// Three lines that work when pasted into a shell.
pub(crate) fn curl(url: &str) -> String {
    format!(
        "TOKEN=$(curl -s {url}/v1/auth/login -H 'Content-Type: application/json' \
         -d '{{\"email\":\"{OWNER}\",\"password\":\"{PASSWORD}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -s -H \"Authorization: Bearer $TOKEN\" '{url}/v1/tasks?status=in_progress&per_page=3'\n\
         curl -s -H \"Authorization: Bearer $TOKEN\" {url}/v1/tasks -H 'Content-Type: application/json' \
         -d '{{\"title\":\"My first task\",\"priority\":\"high\"}}'"
    )
}

struct Clients {
    auth: AuthServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
    members: MemberServiceClient<Channel>,
    tasks: TaskServiceClient<Channel>,
}

struct Person {
    id: String,
    token: String,
}

impl Person {
    fn call<T>(&self, account_id: &str, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        if !account_id.is_empty() {
            request.metadata_mut().insert("x-account-id", account_id.parse()?);
        }
        Ok(request)
    }
}

/// Makes the account.
pub(crate) async fn make(env: &Env, mailbox: &Mailbox, database_url: &str) -> anyhow::Result<()> {
    let channel = |variable: &str| -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(env.get(variable).context("no address")?.to_owned())?.connect_lazy())
    };
    let mut clients = Clients {
        auth: AuthServiceClient::new(channel("BATON_AUTH_URL")?),
        accounts: AccountServiceClient::new(channel("BATON_TENANCY_URL")?),
        members: MemberServiceClient::new(channel("BATON_TENANCY_URL")?),
        tasks: TaskServiceClient::new(channel("BATON_TASK_URL")?),
    };
    let mut people = Vec::new();
    for (email, first_name, last_name, ..) in PEOPLE {
        people.push(sign_up(&mut clients, mailbox, email, first_name, last_name).await?);
    }
    let create = CreateAccountRequest { name: "Demo Company".to_owned(), slug: Some("demo-company".to_owned()) };
    let created = clients.accounts.create_account(people[0].call("", create)?).await?.into_inner();
    let account_id = created.account.context("an account")?.id;
    // Trying things out does not run dry.
    let mut conn = PgConnection::connect(database_url).await?;
    sqlx::query("update tenancy.accounts set subscription_tier = 'enterprise' where slug = 'demo-company'")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    for (index, (email, _, _, role, manager)) in PEOPLE.iter().enumerate().skip(1) {
        let invite = InviteMemberRequest {
            account_id: account_id.clone(),
            email: (*email).to_owned(),
            role: *role as i32,
            // Nobody is given an owner as their manager by others; the owner's own reports are.
            manager_id: manager.map(|manager| people[manager].id.clone()),
        };
        clients.members.invite_member(people[0].call(&account_id, invite)?).await?;
        let token = mailed_token(mailbox, email, "/accept-invitation").await?;
        clients.members.accept_invitation(people[index].call("", AcceptInvitationRequest { token })?).await?;
    }
    for number in 0..30 {
        task(&mut clients, &people, &account_id, number).await?;
    }
    Ok(())
}

async fn sign_up(
    clients: &mut Clients,
    mailbox: &Mailbox,
    email: &str,
    first_name: &str,
    last_name: &str,
) -> anyhow::Result<Person> {
    let register = RegisterRequest {
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
    };
    clients.auth.register(register).await?;
    let token = mailed_token(mailbox, email, "/verify-email").await?;
    clients.auth.verify_email(VerifyEmailRequest { token, password: None }).await?;
    let login = LoginRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
    let answer = clients.auth.login(login).await?.into_inner();
    Ok(Person { id: answer.user.context("a user")?.id, token: answer.access_token.context("an access token")? })
}

/// The token of the newest link to `path` that was mailed to `email`.
async fn mailed_token(mailbox: &Mailbox, email: &str, path: &str) -> anyhow::Result<String> {
    for _ in 0..200 {
        let found = mailbox.mails(Some(email)).into_iter().find_map(|mail| {
            let (_, token) = mail.text.split_once(&format!("{path}?token="))?;
            token.split_whitespace().next().map(str::to_owned)
        });
        if let Some(token) = found {
            return Ok(token);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bail!("the mail with the link did not arrive")
}

/// One task. Its number decides who hands it to whom, and how far it gets.
async fn task(clients: &mut Clients, people: &[Person], account_id: &str, number: usize) -> anyhow::Result<()> {
    let holder = 4 + number % 4;
    let manager = PEOPLE[holder].4.context("users report to someone")?;
    let due_at = Clock::system().now() + TimeDelta::days(number as i64 - 6);
    let priorities = [TaskPriority::Low, TaskPriority::Medium, TaskPriority::High, TaskPriority::Urgent];
    let create = CreateTaskRequest {
        title: format!("{}{}", WORK[number % WORK.len()], if number < WORK.len() { "" } else { ", second round" }),
        priority: priorities[number / 2 % 4] as i32,
        due_at: Some(timestamp(due_at)),
        tags: vec![["office", "web", "people"][number % 3].to_owned()],
        visibility: [TaskVisibility::Private, TaskVisibility::Team, TaskVisibility::Account][number % 3] as i32,
        estimated_seconds: Some(1800 * (1 + number as i32 % 6)),
        ..Default::default()
    };
    let (user, boss) = (&people[holder], &people[manager]);
    let created = clients.tasks.create_task(boss.call(account_id, create)?).await?.into_inner();
    let id = created.task.context("a task")?.id;
    let step = number % 6;
    if step >= 1 {
        let assign = AssignTaskRequest { id: id.clone(), assigned_to: user.id.clone() };
        clients.tasks.assign_task(boss.call(account_id, assign)?).await?;
    }
    if step >= 2 {
        clients.tasks.accept_task(user.call(account_id, AcceptTaskRequest { id: id.clone() })?).await?;
    }
    if step >= 3 {
        clients.tasks.start_task(user.call(account_id, StartTaskRequest { id: id.clone() })?).await?;
    }
    if step == 4 {
        let pause = PauseTaskRequest { id: id.clone(), reason: "Waiting for an answer".to_owned() };
        clients.tasks.pause_task(user.call(account_id, pause)?).await?;
    }
    if step == 5 {
        clients.tasks.complete_task(user.call(account_id, CompleteTaskRequest { id })?).await?;
    }
    Ok(())
}
