//! Search RPCs.

use std::collections::HashMap;

use baton_access::principal;
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::{
    api::v1::PageMeta,
    task::v1::{
        GetSearchSettingsRequest, GetSearchSettingsResponse, SearchSettings, SearchTasksRequest, SearchTasksResponse,
        TaskHit, UpdateSearchSettingsRequest, UpdateSearchSettingsResponse, search_service_server::SearchService,
    },
};
use baton_store::{Page, RowCount};
use tokio::task;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Rpc,
    subtasks::{hide_parents, summaries},
};
use crate::{
    application::reindex,
    convert,
    policy::visibility::Actor,
    query::{
        filter::Scope,
        highlight,
        search::{SearchTerms, text_search_config},
    },
    store::{self, list::ListQuery, search::SearchHit},
    task::Task,
};

/// Language of accounts that have not set one.
const DEFAULT_LANGUAGE: &str = "en";

#[tonic::async_trait]
impl SearchService for Rpc {
    async fn search_tasks(
        &self,
        request: Request<SearchTasksRequest>,
    ) -> Result<Response<SearchTasksResponse>, Status> {
        let principal = principal(&request)?.clone();
        let SearchTasksRequest { q, filter, page } = request.into_inner();
        let words = SearchTerms::parse(&q, "q")?;
        let filter = self.filter(&principal, filter).await?;
        if page.as_ref().is_some_and(|page| !page.page_token.is_empty()) {
            return Err(Error::from(Reason::PageTokenInvalid).into());
        }
        let page = Page::of(page.as_ref(), &())?;
        let now = self.db.clock().now();
        let list = ListQuery { actor: Actor::of(&principal), scope: Scope::Visible, filter: &filter, now };

        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let mut ranking = store::search::find(&mut tx, list, &words).await?;
        let spelled_alike = ranking.found.is_empty();
        if spelled_alike {
            ranking = store::search::find_similar(&mut tx, list, &words).await?;
        }
        let spelled_alike = spelled_alike && !ranking.found.is_empty();
        let total = RowCount { count: ranking.found.len() as i64, is_estimate: ranking.is_truncated };
        let page_hits: Vec<SearchHit> =
            ranking.found.into_iter().skip(page.offset() as usize).take(page.per_page as usize).collect();
        let ids: Vec<Uuid> = page_hits.iter().map(|hit| hit.id).collect();
        let mut tasks = store::search::tasks(&mut tx, &ids).await?;
        hide_parents(&mut tx, list.actor, &mut tasks).await?;
        let mut summaries = summaries(&mut tx, &tasks).await?;
        let texts = if spelled_alike { Vec::new() } else { store::search::texts(&mut tx, &ids).await? };
        // Highlighting runs without a connection, and off the threads that serve calls.
        drop(tx);
        let mut highlights =
            task::spawn_blocking(move || highlight::of_tasks(&words, texts)).await.map_err(Error::internal)?;

        let mut tasks: HashMap<Uuid, Task> = tasks.into_iter().map(|task| (task.id, task)).collect();
        let hits = page_hits.iter().filter_map(|hit| {
            // Deleted between the two statements.
            let task = tasks.remove(&hit.id)?;
            let highlights = highlights.remove(&hit.id).unwrap_or_default();
            let highlight = highlights.into_iter().map(convert::search::highlight).collect();
            let summary = summaries.remove(&hit.id).unwrap_or_default();
            let task = convert::subtasks::task(task, summary, now);
            Some(TaskHit { task: Some(task), highlight, rank: hit.score })
        });
        let tasks = hits.collect();
        let mut nothing: Vec<Uuid> = Vec::new();
        let meta: PageMeta = page.meta(&mut nothing, total, &(), |&id| (None, id));
        Ok(Response::new(SearchTasksResponse { tasks, meta: Some(meta), spelled_alike }))
    }

    async fn get_search_settings(
        &self,
        request: Request<GetSearchSettingsRequest>,
    ) -> Result<Response<GetSearchSettingsResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let language = store::search::language(&mut tx).await?.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned());
        drop(tx);
        Ok(Response::new(GetSearchSettingsResponse { settings: Some(SearchSettings { language }) }))
    }

    async fn update_search_settings(
        &self,
        request: Request<UpdateSearchSettingsRequest>,
    ) -> Result<Response<UpdateSearchSettingsResponse>, Status> {
        let principal = principal(&request)?.clone();
        let UpdateSearchSettingsRequest { language } = request.into_inner();
        let config = text_search_config(&language)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        if store::search::set_language(&mut tx, &language, &config).await? {
            tx.enqueue(reindex::JOB, &principal.account_id()).await?;
        }
        tx.commit().await?;
        Ok(Response::new(UpdateSearchSettingsResponse { settings: Some(SearchSettings { language }) }))
    }
}
