//! Full-text search.

use baton_errors::Reason;
use baton_proto::baton::{
    api::v1::Page,
    task::v1::{
        CreateCommentRequest, CreateTaskRequest, DeleteCommentRequest, SearchTasksRequest, SearchTasksResponse,
        TaskChange, TaskFilter, TaskStatus, TaskVisibility, UpdateSearchSettingsRequest,
        comment_service_client::CommentServiceClient, search_service_client::SearchServiceClient,
    },
};
use baton_task::SPEC;
use baton_testkit::Person;
use sqlx::{Connection, PgConnection};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::fixture::{Fixture, RpcResult, error_reason, invalid_field, new_task, new_task_for, title_change};

fn searches(fixture: &Fixture) -> SearchServiceClient<Channel> {
    SearchServiceClient::new(fixture.channel())
}

async fn search(fixture: &Fixture, actor: &Person, q: &str) -> RpcResult<SearchTasksResponse> {
    let request = SearchTasksRequest { q: q.to_owned(), ..Default::default() };
    Ok(searches(fixture).search_tasks(fixture.call(actor, request)).await?.into_inner())
}

/// Titles of the results, best first; fuzzy matches are refused.
async fn titles(fixture: &Fixture, actor: &Person, q: &str) -> Vec<String> {
    let found = search(fixture, actor, q).await.unwrap();
    assert_eq!(found.meta.unwrap().total_count as usize, found.tasks.len());
    if found.spelled_alike {
        return Vec::new();
    }
    found.tasks.into_iter().map(|hit| hit.task.unwrap().title).collect()
}

async fn comment(fixture: &Fixture, actor: &Person, task: &str, body: &str) -> String {
    let request = CreateCommentRequest { task_id: task.to_owned(), body: body.to_owned(), ..Default::default() };
    let response =
        CommentServiceClient::new(fixture.channel()).create_comment(fixture.call(actor, request)).await.unwrap();
    response.into_inner().comment.unwrap().id
}

#[tokio::test]
async fn result_includes_progress_and_blocked_state() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let whole = fixture.create(me, new_task("House")).await.unwrap().id;
    let part = CreateTaskRequest { parent_task_id: Some(whole.clone()), ..new_task("Walls") };
    let part = fixture.create(me, part).await.unwrap().id;
    fixture.add_dependency(me, &whole, &part).await.unwrap();
    let found = search(&fixture, me, "house").await.unwrap().tasks.pop().unwrap().task.unwrap();
    assert_eq!((found.progress.unwrap().total, found.blocked), (1, true));
}

#[tokio::test]
async fn search_covers_every_text_field() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let mut request = new_task("Sweep the yard");
    (request.description, request.tags) = ("With the new broom".to_owned(), vec!["outside".to_owned()]);
    let sweep = fixture.create(me, request).await.unwrap();
    let mut request = new_task("Mop the floor");
    request.description = "Do not sweep it".to_owned();
    fixture.create(me, request).await.unwrap();
    comment(&fixture, me, &sweep.id, "Mind the geraniums").await;

    for (q, expected) in [
        // The title ranks above the description.
        ("sweep", &["Sweep the yard", "Mop the floor"][..]),
        ("sweeping", &["Sweep the yard", "Mop the floor"]),
        ("brooms", &["Sweep the yard"]),
        ("outside", &["Sweep the yard"]),
        ("geranium", &["Sweep the yard"]),
        ("yard geraniums", &["Sweep the yard"]),
        ("swe", &["Sweep the yard", "Mop the floor"]),
        ("\"new broom\"", &["Sweep the yard"]),
        ("\"broom new\"", &[]),
        ("sweep -broom", &["Mop the floor"]),
        ("yard or mop", &["Sweep the yard", "Mop the floor"]),
        ("yard floor", &[]),
        ("% _ ' \" \\ & | ! ( ) : *", &[]),
    ] {
        let mut found = titles(&fixture, me, q).await;
        if q.contains(" or ") {
            found.sort_by(|a, b| b.cmp(a));
        }
        assert_eq!(found, expected, "{q}");
    }
    for (q, field) in [("a\0", "q"), ("", "q")] {
        assert_eq!(invalid_field(search(&fixture, me, q).await), field);
    }
}

#[tokio::test]
async fn index_follows_changes() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let id = fixture.create(me, new_task("Sweep")).await.unwrap().id;
    let said = comment(&fixture, me, &id, "Mind the geraniums").await;
    fixture.update(me, &id, &["title"], title_change("Mop")).await.unwrap();
    assert!(titles(&fixture, me, "sweep").await.is_empty());
    assert_eq!(titles(&fixture, me, "mop geraniums").await, ["Mop"]);
    let gone = DeleteCommentRequest { comment_id: said };
    CommentServiceClient::new(fixture.channel()).delete_comment(fixture.call(me, gone)).await.unwrap();
    assert!(titles(&fixture, me, "geraniums").await.is_empty());
    let tagged = TaskChange { tags: vec!["kitchen".to_owned()], ..Default::default() };
    fixture.update(me, &id, &["tags"], tagged).await.unwrap();
    assert_eq!(titles(&fixture, me, "kitchen").await, ["Mop"]);
    fixture.delete(me, &id).await.unwrap();
    assert!(titles(&fixture, me, "mop").await.is_empty(), "deleted tasks are not found");
    fixture.restore(me, &id).await.unwrap();
    assert_eq!(titles(&fixture, me, "mop").await, ["Mop"]);
}

#[tokio::test]
async fn highlights_are_plain_text_fragments() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let mut request = new_task("<b>Sweep</b> & sweep");
    request.description = format!("{} broom {}", "far ".repeat(60), "away ".repeat(60));
    fixture.create(me, request).await.unwrap();
    let found = search(&fixture, me, "sweep broom").await.unwrap();
    let [hit] = &found.tasks[..] else { panic!("{found:?}") };
    let [title, description] = &hit.highlight[..] else { panic!("{hit:?}") };
    let text = |parts: &[baton_proto::baton::task::v1::HighlightPart]| {
        parts.iter().map(|p| p.text.as_str()).collect::<String>()
    };
    assert_eq!((title.field.as_str(), text(&title.parts).as_str()), ("title", "<b>Sweep</b> & sweep"));
    assert_eq!(
        title.parts.iter().filter(|part| part.hit).map(|part| part.text.as_str()).collect::<Vec<_>>(),
        ["Sweep", "sweep"]
    );
    assert_eq!(description.field, "description");
    assert!(description.parts.iter().any(|part| part.hit && part.text == "broom"));
    assert!(text(&description.parts).len() < 200, "a fragment, not the whole text");
    assert!(hit.rank > 0.0 && !found.spelled_alike);
}

#[tokio::test]
async fn fuzzy_match_applies_only_without_an_exact_match() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    fixture.create(me, new_task("Quarterly invoice")).await.unwrap();
    fixture.create(me, new_task("Something else")).await.unwrap();
    let found = search(&fixture, me, "invoce").await.unwrap();
    assert_eq!(found.tasks.len(), 1);
    assert!(found.spelled_alike && found.tasks[0].highlight.is_empty());
    let found = search(&fixture, me, "invoice").await.unwrap();
    assert!(!found.spelled_alike && found.tasks.len() == 1);
    assert!(search(&fixture, me, "zebra").await.unwrap().tasks.is_empty());
}

#[tokio::test]
async fn search_returns_visible_tasks_only() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    let make = async |title: &str, visibility: TaskVisibility, creator: &Person, assignee: Option<&Person>| {
        let mut request = assignee.map_or_else(|| new_task(title), |assignee| new_task_for(title, assignee));
        request.visibility = visibility.into();
        fixture.create(creator, request).await.unwrap()
    };
    use TaskVisibility::{Account, Private, Team};
    make("broom private", Private, &team.user_a1, None).await;
    make("broom team", Team, &team.user_a1, None).await;
    make("broom account", Account, &team.user_b1, None).await;
    make("broom given", Private, &team.owner, Some(&team.user_a1)).await;
    let other = fixture.other_account().await;
    other.create(&other.team.owner, new_task("broom foreign")).await.unwrap();

    for (person, expected) in [
        (&team.owner, 4),
        (&team.super_manager, 4),
        (&team.manager_a, 4),
        (&team.user_a1, 4),
        (&team.user_a2, 2),
        (&team.manager_b, 1),
        (&team.user_b1, 1),
    ] {
        let mut found = titles(&fixture, person, "broom").await;
        found.sort();
        let seen = fixture.list(person, TaskFilter::default()).await.unwrap();
        assert_eq!((found.len(), seen.len()), (expected, expected), "{found:?}");
        let listed = TaskFilter { search: Some("broom".to_owned()), ..Default::default() };
        assert_eq!(fixture.list(person, listed).await.unwrap().len(), seen.len());
        // Fuzzy matches, too.
        let alike = search(&fixture, person, "brooom").await.unwrap();
        assert_eq!((alike.tasks.len(), alike.spelled_alike), (seen.len(), true));
    }
    assert_eq!(titles(&other, &other.team.owner, "broom").await, ["broom foreign"]);
}

#[tokio::test]
async fn filter_narrows_results_and_pages_are_numbered() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    for n in 0..5 {
        fixture.create(me, new_task(&format!("broom {n}"))).await.unwrap();
    }
    let running = fixture.create(me, new_task("broom in hand")).await.unwrap().id;
    fixture.start(me, &running).await.unwrap();
    let request = |page: Page, status: Vec<i32>| SearchTasksRequest {
        q: "broom".to_owned(),
        filter: Some(TaskFilter { status, ..Default::default() }),
        page: Some(page),
    };
    let ask = async |page, status| searches(&fixture).search_tasks(fixture.call(me, request(page, status))).await;
    let page = |page| Page { page, per_page: 4, ..Default::default() };
    let first = ask(page(1), vec![]).await.unwrap().into_inner();
    let second = ask(page(2), vec![]).await.unwrap().into_inner();
    let meta = first.meta.unwrap();
    assert_eq!((first.tasks.len(), second.tasks.len(), meta.total_count, meta.total_pages), (4, 2, 6, 2));
    assert!(!meta.total_is_estimate && meta.next_page_token.is_empty());
    let found = ask(page(1), vec![TaskStatus::InProgress.into()]).await.unwrap().into_inner();
    assert_eq!(found.tasks.len(), 1);
    let token = Page { page_token: "x".to_owned(), ..Default::default() };
    assert_eq!(error_reason(ask(token, vec![]).await), Reason::PageTokenInvalid);
}

#[tokio::test]
async fn stemming_follows_the_account_language() {
    let fixture = Fixture::new().await;
    let team = &fixture.team;
    fixture.create(&team.owner, new_task("Alle Häuser streichen")).await.unwrap();
    let speak = async |actor: &Person, language: &str| {
        let request = UpdateSearchSettingsRequest { language: language.to_owned() };
        searches(&fixture).update_search_settings(fixture.call(actor, request)).await
    };
    assert!(titles(&fixture, &team.owner, "Hauses streichst").await.is_empty());
    assert_eq!(error_reason(speak(&team.user_a1, "de").await), Reason::PermissionMissing);
    assert_eq!(invalid_field(speak(&team.owner, "tlh").await), "language");
    speak(&team.owner, "de-AT").await.unwrap();
    baton_testkit::eventually(async || {
        let found = search(&fixture, &team.owner, "streichst").await.unwrap();
        (found.tasks.len() == 1 && !found.spelled_alike).then_some(())
    })
    .await;
    fixture.create(&team.owner, new_task("Ein Haus kaufen")).await.unwrap();
    assert_eq!(titles(&fixture, &team.owner, "Häuser kaufe").await, ["Ein Haus kaufen"]);
}

#[tokio::test]
async fn search_functions_respect_the_connection_tenant() {
    let fixture = Fixture::new().await;
    let other = fixture.other_account().await;
    fixture.create(&fixture.team.owner, new_task("broom mine")).await.unwrap();
    other.create(&other.team.owner, new_task("broom theirs")).await.unwrap();
    let mut conn = PgConnection::connect(&fixture.context.database().app_url(SPEC.name)).await.unwrap();
    let both =
        "select (select count(*) from task.search_terms_in_tasks('{broom}', '{0}', '{f}', true, null, null, 10)),
                       (select count(*) from task.search_alike('brooom', null, null, 10)),
                       (select count(*) from task.task_search)";
    let seen: (i64, i64, i64) = sqlx::query_as(both).fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, (0, 0, 0), "without a tenant nothing is found");
    for account_id in [fixture.team.account_id, other.team.account_id, Uuid::now_v7()] {
        let tenant = "select set_config('baton.account_id', $1, false)";
        sqlx::query(tenant).bind(account_id.to_string()).execute(&mut conn).await.unwrap();
        let one = i64::from(account_id == fixture.team.account_id || account_id == other.team.account_id);
        let seen: (i64, i64, i64) = sqlx::query_as(both).fetch_one(&mut conn).await.unwrap();
        assert_eq!(seen, (one, one, one));
    }
}

#[tokio::test]
async fn search_handles_compounds_accents_and_scripts_without_spaces() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    for (title, typed) in [
        ("Restart germany-dev-east", &["dev-east", "germany", "east", "dev-e"][..]),
        ("JIRA-4711 broken", &["4711", "jira", "JIRA-4711", "471"]),
        ("See /usr/local/share/doc.txt", &["local/share", "doc.txt", "doc"]),
        ("Ping db1.eu.example.com:5432", &["eu.example", "5432", "db1", "db"]),
        ("Ask jane.doe+x@mail.example.org", &["jane.doe", "doe", "mail.example", "jane.doe+x@mail.example.org"]),
        ("Release v2.10.3-rc1", &["2.10", "10.3", "v2.10.3", "rc1"]),
        ("Rename getUserByHTTPName", &["user", "HTTP", "getuserbyhttpname", "userBy"]),
        ("Drop old_user_table", &["user_table", "old", "table"]),
        ("Total 1,234.56 EUR", &["234.56", "1,234"]),
        ("Caf\u{e9} menu", &["cafe", "CAFE", "cafe\u{301}", "caf\u{e9}"]),
        ("Die Stra\u{df}e fegen", &["strasse", "STRASSE", "straße"]),
        ("\u{130}stanbul trip", &["istanbul", "İSTANBUL"]),
        ("Łódź Øresund", &["lodz", "oresund"]),
        ("Ремонт ёлки", &["елки", "РЕМОНТ"]),
        ("来週の会議の準備", &["準備", "会議", "議", "備", "会議の準備"]),
        ("주간회의를 준비", &["회의", "주간", "의를"]),
        ("ประชุมประจำสัปดาห์", &["ประจำ", "สัปดาห์"]),
        ("🚀Launch", &["🚀", "launch"]),
        ("To be or not to be", &["be", "not"]),
    ] {
        fixture.create(me, new_task(title)).await.unwrap();
        for q in typed {
            assert!(titles(&fixture, me, q).await.contains(&title.to_owned()), "{q} in {title}");
            let listed = TaskFilter { search: Some((*q).to_owned()), ..Default::default() };
            assert_eq!(
                fixture.list(me, listed).await.unwrap().len(),
                titles(&fixture, me, q).await.len(),
                "{q} in a list"
            );
        }
    }
    // Not texts with the same characters in another order, or apart.
    for q in ["east-dev", "east-germany", "備準", "備来", "회주", "10.2", "\"menu cafe\""] {
        assert!(titles(&fixture, me, q).await.is_empty(), "{q}");
    }
    // Descriptions and comments, too.
    let task = fixture
        .create(me, CreateTaskRequest { description: "来週の Café, host-42x".to_owned(), ..new_task("Plain") })
        .await;
    comment(&fixture, me, &task.unwrap().id, "予算の件 naïve errors/E1234").await;
    for q in ["来週", "cafe", "42", "host-42x", "予算", "naive", "1234", "errors/e1234"] {
        assert!(titles(&fixture, me, q).await.contains(&"Plain".to_owned()), "{q}");
    }
}

#[tokio::test]
async fn result_does_not_depend_on_other_tasks() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let queries = ["4711", "dev-east", "準備", "cafe", "broken", "the"];
    let mut found: Vec<Vec<String>> = vec![Vec::new(); queries.len()];
    for title in [
        "JIRA-4711 broken",
        "germany-dev-east",
        "来週の会議の準備",
        "Café menu",
        "order 4711 late",
        "dev-east",
        "準備",
        "cafe",
        "brokn",
        "The end",
        "x4711y",
        "broken 準備 cafe 4711 dev-east",
    ] {
        fixture.create(me, new_task(title)).await.unwrap();
        for (q, before) in queries.iter().zip(&mut found) {
            let mut now = titles(&fixture, me, q).await;
            now.sort();
            assert!(
                before.iter().all(|title| now.contains(title)),
                "{q} lost some when {title} came: {before:?} {now:?}"
            );
            *before = now;
        }
    }
    assert_eq!(found[0], ["JIRA-4711 broken", "broken 準備 cafe 4711 dev-east", "order 4711 late", "x4711y"]);
}

/// Titles of random words in any script with any separators. Each word finds its title: upper-cased, with decomposed
/// accents, or as a prefix. The test calls the indexing and search functions directly.
#[tokio::test]
async fn every_word_of_a_title_finds_the_title() {
    use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

    let fixture = Fixture::new().await;
    let mut conn = PgConnection::connect(&fixture.context.database().app_url(SPEC.name)).await.unwrap();
    let word = "[a-z]{1,8}|[A-Z][a-z]{1,4}[A-Z][a-z]{1,4}|[0-9]{1,6}|v[0-9]{1,2}|[a-zà-öø-ÿŁłŚśİı]{1,6}|[а-яёА-Я]{1,6}|\
                [α-ωΑ-Ω]{1,5}|[ぁ-ん一-十亀準備会議]{1,5}|[가-힣]{1,4}|[ก-ฮ]{1,5}|[א-ת]{1,5}|[بتجدرسعفقكلمنهوي]{1,5}|[अ-ह]{1,4}";
    let strategy = (
        prop::collection::vec((word, "[ \\-_./:@#+,;()|'&!<>=*\u{a0}\u{2014}]{1,2}"), 1..7),
        any::<prop::sample::Index>(),
        0..4_usize,
    );
    let mut runner = TestRunner::deterministic();
    let (mut titles, mut typed, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3_000 {
        let (words, which, form) = strategy.new_tree(&mut runner).unwrap().current();
        titles.push(words.iter().map(|(word, gap)| format!("{word}{gap}")).collect::<String>());
        let (word, _) = which.get(&words);
        let half: String = word.chars().take(word.chars().count().div_ceil(2)).collect();
        let (text, is_open) = match form {
            0 => (word.clone(), false),
            1 => (word.to_uppercase(), true),
            2 => (half, true),
            _ => (word.to_lowercase(), true),
        };
        // Compounds are split into words; half of a compound is a prefix of its first word, so compounds are typed
        // whole.
        let is_mixed = word.chars().any(char::is_lowercase) && word.chars().any(char::is_uppercase);
        typed.push(if is_mixed { word.clone() } else { text });
        open.push(is_open);
    }
    let missed: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select language, title, typed, open from unnest($1::text[], $2::text[], $3::boolean[]) as t (title, typed, open),
                unnest('{english,simple,german,french,russian,turkish}'::text[]) as language
         where not coalesce(
             setweight(task.search_text(language::regconfig, title, false), 'A')
             @@ task.search_terms(language::regconfig, array[typed], array[0], array[false], open), false)",
    )
    .bind(&titles)
    .bind(&typed)
    .bind(&open)
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert!(missed.is_empty(), "{} missed: {:?}", missed.len(), &missed[..missed.len().min(5)]);
}

/// Rows of the previous version are found by whole words until the migration's job has reindexed them.
#[tokio::test]
async fn tasks_indexed_by_the_previous_version_are_found_and_reindexed() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let task = fixture.create(me, new_task("Café at germany-dev-east")).await.unwrap();
    comment(&fixture, me, &task.id, "Ticket ABC-77 来週").await;
    let admin = fixture.context.admin();
    let before = "update task.task_search set words = 'café at germany-dev-east', document = setweight(
                      to_tsvector('pg_catalog.english', 'Café at germany-dev-east'), 'A')";
    sqlx::query(before).execute(&admin).await.unwrap();
    assert_eq!(titles(&fixture, me, "germany").await.len(), 1);
    assert!(titles(&fixture, me, "cafe").await.is_empty());
    // As in migration 0017.
    let job = "insert into task.jobs (id, kind, payload)
               select gen_random_uuid(), 'search.reindex', to_jsonb(account_id)
               from (select distinct account_id from task.task_search) accounts";
    sqlx::query(job).execute(&admin).await.unwrap();
    baton_testkit::eventually(async || (titles(&fixture, me, "cafe").await.len() == 1).then_some(())).await;
    for q in ["dev-east", "77", "来週"] {
        assert_eq!(titles(&fixture, me, q).await.len(), 1, "{q}");
    }
}

/// Highlighting scans a bounded amount of text per comment, task and page.
#[tokio::test]
async fn highlights_scan_a_bounded_number_of_comments() {
    let fixture = Fixture::new().await;
    let me = &fixture.team.user_a1;
    let shown = async |q: &str, per_page: i32| {
        let page = Page { per_page, ..Default::default() };
        let request = SearchTasksRequest { q: q.to_owned(), page: Some(page), ..Default::default() };
        let found = searches(&fixture).search_tasks(fixture.call(me, request)).await.unwrap().into_inner().tasks;
        let comments = found.iter().filter(|hit| hit.highlight.iter().any(|shown| shown.field == "comment")).count();
        (found.len(), comments)
    };
    let one = fixture.create(me, new_task("One")).await.unwrap().id;
    comment(&fixture, me, &one, "zebra").await;
    for _ in 0..9 {
        comment(&fixture, me, &one, "filler").await;
    }
    assert_eq!(shown("zebra", 20).await, (1, 1));
    comment(&fixture, me, &one, "filler").await;
    assert_eq!(shown("zebra", 20).await, (1, 0), "ten comments of a task");
    comment(&fixture, me, &one, &format!("{} quagga", "word ".repeat(398))).await;
    assert_eq!(shown("quagga", 20).await, (1, 1));
    comment(&fixture, me, &one, &format!("{} okapi", "word ".repeat(400))).await;
    assert_eq!(shown("okapi", 20).await, (1, 0), "two thousand characters of a comment");
    // Forty tasks share the limit of a page: five comments each. Twenty tasks have ten each.
    for n in 0..40 {
        let task = fixture.create(me, new_task(&format!("Task {n}"))).await.unwrap().id;
        comment(&fixture, me, &task, "gnu").await;
        for _ in 0..5 {
            comment(&fixture, me, &task, "filler").await;
        }
    }
    assert_eq!(shown("gnu", 20).await, (20, 20));
    assert_eq!(shown("gnu", 40).await, (40, 0), "two hundred comments of a page");
}
