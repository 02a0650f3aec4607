//! Time tracking over REST: timer, manual entries, corrections, reports.

use baton_tests::{Platform, eventually};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

#[tokio::test]
async fn time_is_tracked_corrected_and_reported() {
    let platform = Platform::start().await;
    let team = platform.team().await;
    let (me, boss) = (&team.user, &team.manager);
    let task = json!({"title": "Sweep", "assigned_to": me.id, "estimated_seconds": 1_800});
    let task = boss.post("/v1/tasks", &task).ok().await;
    let task_id = task["id"].as_str().unwrap();
    let path = format!("/v1/tasks/{task_id}");
    let entries = format!("{path}/time-entries");

    // The timer.
    me.post(&format!("{path}/start"), &json!({})).ok().await;
    let running = me.get(&entries).ok().await;
    assert_eq!(running["meta"]["total_count"], 1, "{running}");
    let interval = &running["time_entries"][0];
    assert_eq!((&interval["kind"], &interval["source"]), (&json!("working"), &json!("timer")), "{interval}");
    assert_eq!((&interval["user_id"], &interval["ended_at"]), (&json!(me.id), &Value::Null), "{interval}");
    me.post(&format!("{path}/pause"), &json!({"reason": "lunch"})).ok().await;
    let both = me.get(&format!("{entries}?per_page=1")).ok().await;
    assert_eq!((&both["time_entries"][0]["kind"], &both["meta"]["total_pages"]), (&json!("paused"), &json!(2)));
    me.post(&format!("{path}/complete"), &json!({})).ok().await;

    // A manual entry.
    let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap();
    let hours_ago = |hours| (now - TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let missed = json!({"started_at": hours_ago(3), "ended_at": hours_ago(2), "note": "the cellar"});
    let entered = me.post(&entries, &missed).header("idempotency-key", "cellar").ok().await;
    assert_eq!((&entered["seconds"], &entered["source"]), (&json!(3_600), &json!("manual")), "{entered}");
    assert_eq!(me.post(&entries, &missed).header("idempotency-key", "cellar").ok().await, entered);
    me.post(&entries, &missed).refused(409, "TIME_ENTRY_OVERLAPS").await;
    for (wrong, field) in [
        (json!({"started_at": hours_ago(5), "ended_at": hours_ago(6)}), "ended_at"),
        (json!({"started_at": hours_ago(5), "ended_at": hours_ago(5)}), "ended_at"),
        (json!({"started_at": hours_ago(5), "ended_at": hours_ago(-1)}), "ended_at"),
        (json!({"started_at": hours_ago(30), "ended_at": hours_ago(5)}), "ended_at"),
        (json!({"started_at": "yesterday", "ended_at": hours_ago(5)}), "started_at"),
    ] {
        let problem = me.post(&entries, &wrong).refused(400, "VALIDATION_FAILED").await;
        assert!(problem.to_string().contains(field), "{problem}");
    }

    // Corrections by the worker and by a superior, each conditional on the version read.
    let one = format!("/v1/time-entries/{}", entered["id"].as_str().unwrap());
    let corrected = boss.patch(&one, &json!({"started_at": hours_ago(4)})).header("if-match", "\"1\"").ok().await;
    assert_eq!((&corrected["seconds"], &corrected["note"]), (&json!(7_200), &json!("the cellar")), "{corrected}");
    me.patch(&one, &json!({"note": null})).header("if-match", "\"1\"").refused(412, "VERSION_MISMATCH").await;
    let cleared = me.patch(&one, &json!({"note": null})).header("if-match", "\"2\"").send().await;
    assert_eq!((cleared.etag_version(), &cleared.json()["note"]), ("3", &json!("")));
    me.patch(&one, &json!({"ended_at": null})).refused(400, "VALIDATION_FAILED").await;
    me.patch(&one, &json!({"kind": "paused"})).refused(400, "UNKNOWN_FIELD").await;
    let pause = format!("/v1/time-entries/{}", both["time_entries"][0]["id"].as_str().unwrap());
    me.delete(&pause).refused(409, "TIME_ENTRY_FIXED").await;
    let stranger = platform.person("stranger").await;
    stranger.create_account("Elsewhere").await;
    stranger.delete(&one).refused(404, "TIME_ENTRY_NOT_FOUND").await;
    stranger.get(&entries).refused(404, "TASK_NOT_FOUND").await;

    // Time reports and timesheets.
    let worked = boss.get(&path).ok().await["actual_seconds"].as_i64().unwrap();
    assert!((7_200..7_200 + 60).contains(&worked), "{worked}");
    let report = boss.get(&format!("{path}/time-report")).ok().await;
    assert_eq!((&report["working_seconds"], &report["pause_count"]), (&json!(worked), &json!(1)), "{report}");
    assert_eq!((&report["estimated_seconds"], &report["first_started_at"]), (&json!(1_800), &json!(hours_ago(4))));
    assert_eq!(report["estimate_ratio"].as_f64().unwrap(), worked as f64 / 1_800.0, "{report}");
    assert!(report["cycle_time_seconds"].as_i64().unwrap() >= 4 * 3_600, "{report}");
    assert!(report["lead_time_seconds"].as_i64().unwrap() < 60, "{report}");
    assert_eq!(report["by_user"], json!([{"user_id": me.id, "working_seconds": worked, "entry_count": 2}]));

    let sheet = format!("/v1/time-entries?user_id={}&from={}&to={}", me.id, hours_ago(5), hours_ago(1));
    let sheet = boss.get(&sheet).ok().await;
    assert_eq!((&sheet["working_seconds"], &sheet["meta"]["total_count"]), (&json!(7_200), &json!(1)), "{sheet}");
    assert_eq!(sheet["time_entries"][0]["task_id"], task_id, "{sheet}");
    me.get(&format!("/v1/time-entries?user_id={}", boss.id)).refused(403, "NOT_ABOVE_MEMBER").await;

    // Corrections list times, but no notes.
    me.delete(&one).ok().await;
    let corrections = boss.get(&format!("{path}/time-corrections")).ok().await;
    let actions: Vec<_> = corrections["corrections"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert_eq!(actions, ["created", "updated", "deleted"], "{corrections}");
    assert_eq!(corrections["corrections"][1]["old_started_at"], hours_ago(3), "{corrections}");
    assert!(!corrections.to_string().contains("cellar"));
    let timeline = boss.get(&format!("{path}/timeline?per_page=100")).ok().await;
    let lines = timeline["events"].as_array().unwrap().iter().filter(|line| line["kind"] == "time_corrected");
    let seconds: Vec<_> = lines.map(|line| line["changes"]["actual_seconds"].as_i64().unwrap()).collect();
    assert_eq!(seconds, [worked - 3_600, worked, worked - 7_200], "{timeline}");
    let log = format!("/v1/activity-logs?action=time_entry.deleted&actor={}", me.id);
    eventually("the log has the corrections", || async {
        let logged = team.owner.get(&log).send().await;
        (logged.status == 200 && logged.json()["meta"]["total_count"] == 1).then_some(())
    })
    .await;
}
