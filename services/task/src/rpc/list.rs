//! What all lists of tasks have in common.

use baton_access::Principal;
use baton_errors::Result;
use baton_proto::baton::{
    api::v1::{Page as ProtoPage, PageMeta},
    task::v1 as proto,
};
use baton_store::Page;

use super::Rpc;
use crate::{
    convert,
    filter::{Filter, Scope},
    store::{
        self,
        list::{List, key},
    },
    visibility::Who,
};

/// A page of tasks, and the columns of the whole list.
pub(super) struct Listed {
    pub(super) columns: Vec<proto::BoardColumn>,
    pub(super) tasks: Vec<proto::Task>,
    pub(super) meta: PageMeta,
}

impl Rpc {
    /// Reads a page of the tasks in scope that the caller sees.
    pub(super) async fn list(
        &self,
        principal: &Principal,
        scope: Scope,
        filter: Option<proto::TaskFilter>,
        page: Option<ProtoPage>,
    ) -> Result<Listed> {
        let filter = Filter::of(filter)?;
        let token_of = (&scope, &filter);
        let page = Page::of(page.as_ref(), &token_of)?;
        let list = List { who: Who::of(principal), scope, filter: &filter };
        let mut tx = self.db.begin(principal.tenant()).await?;
        let mut tasks = store::list::page(&mut tx, list, &page).await?;
        let counts = store::list::counts(&mut tx, list).await?;
        tx.commit().await?;
        let total = counts.iter().map(|(_, count)| count).sum();
        let meta = page.meta(&mut tasks, total, &token_of, |task| (key(task, filter.sort), task.id));
        let now = self.db.clock().now();
        Ok(Listed {
            columns: counts.into_iter().map(convert::column).collect(),
            tasks: tasks.into_iter().map(|task| convert::task(task, now)).collect(),
            meta,
        })
    }
}
