//! Reading trees: checkpoints, proofs, and the hashes of leaves.

use std::collections::{BTreeMap, BTreeSet};

use baton_errors::{Error, Result};
use baton_merkle::{Frontier, Hash, NodeId, ProofPlan};
use baton_store::Db;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::tile::{HASH_BYTES, TileId, WIDTH, hash_in_tile, tile_of};

/// Reads the trees of a schema. The caller decides who may read which log.
#[derive(Debug, Clone)]
pub struct Reader(Db);

/// The tree of a log, as it was signed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its leaves.
    pub size: u64,
    /// Its signed checkpoint: a note (C2SP signed-note, tlog-checkpoint).
    pub checkpoint: String,
    /// When that was signed.
    pub checkpoint_at: DateTime<Utc>,
}

/// A proof, with the root that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The hashes, in the order of RFC 6962, section 2.1.
    pub hashes: Vec<Hash>,
    /// The root of the tree that it is a proof in.
    pub root: Hash,
}

impl Reader {
    /// Reads the schema of this database.
    pub fn new(db: Db) -> Self {
        Self(db)
    }

    /// The tree of a log; `None` before its first checkpoint.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tree(&self, log: Uuid) -> Result<Option<Tree>> {
        let select = format!(
            "select size, checkpoint, checkpoint_at from {}.audit_trees where log_id = $1 and size > 0",
            self.0.schema()
        );
        let row = sqlx::query(AssertSqlSafe(select)).bind(log).fetch_optional(self.0.system()).await?;
        row.map(|row| {
            let size = u64::try_from(row.get::<i64, _>("size")).map_err(Error::internal)?;
            Ok(Tree { size, checkpoint: row.get("checkpoint"), checkpoint_at: row.get("checkpoint_at") })
        })
        .transpose()
    }

    /// Proves that the leaf at this index, from 0, is in the tree of this size.
    ///
    /// # Errors
    /// VALIDATION_FAILED if there is no such leaf; those of the database; INTERNAL if the tree is damaged.
    pub async fn inclusion(&self, log: Uuid, index: u64, size: u64) -> Result<Proof> {
        let plan = ProofPlan::inclusion(index, size).map_err(|error| Error::invalid("sequence", error.to_string()))?;
        self.prove(log, &plan, size).await
    }

    /// Proves that the tree of size `new` only adds to the tree of size `old`.
    ///
    /// # Errors
    /// VALIDATION_FAILED if the sizes are in the wrong order; those of the database; INTERNAL if the tree is damaged.
    pub async fn consistency(&self, log: Uuid, old: u64, new: u64) -> Result<Proof> {
        let plan = ProofPlan::consistency(old, new).map_err(|error| Error::invalid("from_size", error.to_string()))?;
        self.prove(log, &plan, new).await
    }

    /// The roots of the perfect subtrees of a tree of this size, largest first: with them, later leaves lead to a root although
    /// the earlier ones are gone.
    ///
    /// # Errors
    /// Those of the database; INTERNAL if the tree is damaged.
    pub async fn frontier(&self, log: Uuid, size: u64) -> Result<Frontier> {
        let nodes = self.nodes(log, &Frontier::nodes(size)).await?;
        Frontier::from_nodes(size, |id| nodes.get(&id).copied()).map_err(Error::internal)
    }

    /// The hashes of the leaves from this index on, as many as there are, at most `limit`.
    ///
    /// # Errors
    /// Those of the database; INTERNAL if a tile is damaged.
    pub async fn leaves(&self, log: Uuid, from: u64, limit: u64) -> Result<Vec<Hash>> {
        let (first, last) = (from / WIDTH, (from + limit) / WIDTH);
        let select = format!(
            "select index, hashes from {}.audit_tiles where log_id = $1 and level = 0 and index between $2 and $3
             order by index",
            self.0.schema()
        );
        let select = sqlx::query(AssertSqlSafe(select)).bind(log);
        let select = select.bind(i64::try_from(first).map_err(Error::internal)?);
        let rows = select.bind(i64::try_from(last).map_err(Error::internal)?).fetch_all(self.0.system()).await?;
        let mut leaves: Vec<Hash> = Vec::new();
        for row in rows {
            leaves.extend(row.get::<&[u8], _>("hashes").as_chunks::<HASH_BYTES>().0);
        }
        let skip = usize::try_from(from % WIDTH).map_err(Error::internal)?;
        Ok(leaves.into_iter().skip(skip).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    async fn prove(&self, log: Uuid, plan: &ProofPlan, size: u64) -> Result<Proof> {
        let of_root = Frontier::nodes(size);
        let wanted: Vec<NodeId> = plan.nodes().iter().chain(&of_root).copied().collect();
        let nodes = self.nodes(log, &wanted).await?;
        let hashes = plan.assemble(|id| nodes.get(&id).copied()).map_err(Error::internal)?;
        let tree = Frontier::from_nodes(size, |id| nodes.get(&id).copied()).map_err(Error::internal)?;
        Ok(Proof { hashes, root: tree.root() })
    }

    /// The hashes of nodes, with one query.
    async fn nodes(&self, log: Uuid, wanted: &[NodeId]) -> Result<BTreeMap<NodeId, Hash>> {
        let tiles: BTreeSet<TileId> = wanted.iter().map(|&node| tile_of(node).0).collect();
        let levels: Vec<i16> = tiles.iter().map(|tile| i16::from(tile.level)).collect();
        let indexes: Vec<i64> = tiles.iter().map(|tile| i64::try_from(tile.index).unwrap_or(i64::MAX)).collect();
        let select = format!(
            "select level, index, hashes from {}.audit_tiles
             join unnest($2::smallint[], $3::bigint[]) wanted (level, index) using (level, index) where log_id = $1",
            self.0.schema()
        );
        let select = sqlx::query(AssertSqlSafe(select)).bind(log).bind(levels).bind(indexes);
        let rows = select.fetch_all(self.0.system()).await?;
        let mut found: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
        for row in rows {
            let level = u8::try_from(row.get::<i16, _>("level")).map_err(Error::internal)?;
            let index = u64::try_from(row.get::<i64, _>("index")).map_err(Error::internal)?;
            found.insert(TileId { level, index }, row.get("hashes"));
        }
        let hash = |&node: &NodeId| {
            let (tile, at) = tile_of(node);
            Some((node, hash_in_tile(found.get(&tile)?, at)?))
        };
        Ok(wanted.iter().filter_map(hash).collect())
    }
}
