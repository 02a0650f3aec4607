//! Adding leaves to the trees of several logs in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use baton_errors::{Error, Result};
use baton_merkle::{Frontier, Hash, Node};
use baton_store::Db;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};
use uuid::Uuid;

use crate::{
    LogKeys,
    tile::{HASH_BYTES, HEIGHT, TileId, WIDTH, tile_of},
};

/// The trees of some logs, locked until the transaction ends.
pub struct Batch {
    tx: Transaction<'static, Postgres>,
    schema: &'static str,
    trees: BTreeMap<Uuid, Frontier>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Batch {
    /// Locks the trees of these logs; those that another process has locked are left out, and damaged ones. A log without a tree
    /// gets one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lock(db: &Db, logs: &[Uuid], now: DateTime<Utc>) -> Result<Self> {
        let schema = db.schema();
        let mut tx = db.system().begin().await?;
        let insert = format!(
            "insert into {schema}.audit_trees (log_id, size, frontier, checkpoint, checkpoint_at)
             select log_id, 0, $2, '', $3 from unnest($1::uuid[]) log_id on conflict do nothing"
        );
        let empty = Frontier::default().to_bytes();
        sqlx::query(AssertSqlSafe(insert)).bind(logs).bind(&empty).bind(now).execute(&mut *tx).await?;
        let select = format!(
            "select log_id, frontier from {schema}.audit_trees where log_id = any($1) order by log_id
             for update skip locked"
        );
        let rows = sqlx::query(AssertSqlSafe(select)).bind(logs).fetch_all(&mut *tx).await?;
        let mut trees = BTreeMap::new();
        for row in &rows {
            let log: Uuid = row.get("log_id");
            match Frontier::from_bytes(row.get::<&[u8], _>("frontier")) {
                Ok(frontier) => {
                    trees.insert(log, frontier);
                }
                Err(error) => {
                    tracing::error!(log.id = %log, %error, "the tree of a log is damaged; its checkpoints stop")
                }
            }
        }
        Ok(Self { tx, schema, trees })
    }

    /// The logs that are locked, with the sizes of their trees.
    pub fn sizes(&self) -> impl Iterator<Item = (Uuid, u64)> {
        self.trees.iter().map(|(&log, tree)| (log, tree.size()))
    }

    /// The connection of the transaction, to read what is added, and to note that it was.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Adds the next leaves of locked logs, and signs a checkpoint of each. Returns the logs: a damaged one is left out, so that it
    /// does not stop the others.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn append(
        &mut self,
        leaves: BTreeMap<Uuid, Vec<Hash>>,
        keys: &LogKeys,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<Uuid>> {
        let mut last_tiles = self.last_tiles(leaves.keys()).await?;
        let mut tiles = BTreeMap::new();
        let (mut logs, mut sizes, mut frontiers, mut checkpoints) = (vec![], vec![], vec![], vec![]);
        for (log, leaves) in leaves {
            let Some(tree) = self.trees.get_mut(&log) else { continue };
            let of_log = last_tiles.remove(&log).unwrap_or_default();
            let Some(of_log) = extend(of_log, &tree.append(leaves)) else {
                tracing::error!(log.id = %log, "a tile of a log is damaged; its checkpoints stop");
                continue;
            };
            tiles.extend(of_log.into_iter().map(|(id, tile)| ((log, id), tile)));
            logs.push(log);
            sizes.push(i64::try_from(tree.size()).map_err(Error::internal)?);
            frontiers.push(tree.to_bytes());
            checkpoints.push(keys.checkpoint(log, tree.size(), tree.root()).map_err(Error::internal)?);
        }
        self.save_tiles(tiles).await?;
        let update = format!(
            "update {}.audit_trees tree set size = new.size, frontier = new.frontier, checkpoint = new.checkpoint,
                 checkpoint_at = $5
             from unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::text[]) new (log_id, size, frontier, checkpoint)
             where tree.log_id = new.log_id",
            self.schema
        );
        let appended = logs.iter().copied().collect();
        let update = sqlx::query(AssertSqlSafe(update)).bind(logs).bind(sizes).bind(frontiers).bind(checkpoints);
        update.bind(now).execute(&mut *self.tx).await?;
        Ok(appended)
    }

    /// Commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }

    /// The tiles that are not full yet, of these logs.
    async fn last_tiles(&mut self, logs: impl Iterator<Item = &Uuid>) -> Result<BTreeMap<Uuid, Tiles>> {
        let (mut ids, mut levels, mut indexes) = (vec![], vec![], vec![]);
        for log in logs {
            let Some(tree) = self.trees.get(log) else { continue };
            for level in 0..(64 / HEIGHT) {
                let hashes = tree.size() >> (level * HEIGHT);
                if !hashes.is_multiple_of(WIDTH) {
                    ids.push(*log);
                    levels.push(i16::from(level));
                    indexes.push(i64::try_from(hashes / WIDTH).map_err(Error::internal)?);
                }
            }
        }
        let select = format!(
            "select log_id, level, index, hashes from {}.audit_tiles
             join unnest($1::uuid[], $2::smallint[], $3::bigint[]) wanted (log_id, level, index)
             using (log_id, level, index)",
            self.schema
        );
        let select = sqlx::query(AssertSqlSafe(select)).bind(ids).bind(levels).bind(indexes);
        let rows = select.fetch_all(&mut *self.tx).await?;
        let mut tiles: BTreeMap<Uuid, Tiles> = BTreeMap::new();
        for row in rows {
            let level = u8::try_from(row.get::<i16, _>("level")).map_err(Error::internal)?;
            let index = u64::try_from(row.get::<i64, _>("index")).map_err(Error::internal)?;
            tiles.entry(row.get("log_id")).or_default().insert(TileId { level, index }, row.get("hashes"));
        }
        Ok(tiles)
    }

    async fn save_tiles(&mut self, tiles: BTreeMap<(Uuid, TileId), Vec<u8>>) -> Result<()> {
        let (mut ids, mut levels, mut indexes, mut hashes) = (vec![], vec![], vec![], vec![]);
        for ((log, TileId { level, index }), tile) in tiles {
            ids.push(log);
            levels.push(i16::from(level));
            indexes.push(i64::try_from(index).map_err(Error::internal)?);
            hashes.push(tile);
        }
        let upsert = format!(
            "insert into {}.audit_tiles as tile (log_id, level, index, hashes)
             select * from unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[])
             on conflict (log_id, level, index) do update set hashes = excluded.hashes
                 where tile.hashes <> excluded.hashes",
            self.schema
        );
        let upsert = sqlx::query(AssertSqlSafe(upsert)).bind(ids).bind(levels).bind(indexes).bind(hashes);
        upsert.execute(&mut *self.tx).await?;
        Ok(())
    }
}

/// Tiles of a log that are not full yet, and new ones.
type Tiles = BTreeMap<TileId, Vec<u8>>;

/// Adds nodes to the tiles of their log; `None` if one is damaged.
fn extend(mut tiles: Tiles, nodes: &[Node]) -> Option<Tiles> {
    for node in nodes.iter().filter(|node| node.id.level.is_multiple_of(HEIGHT)) {
        let (id, at) = tile_of(node.id);
        let tile = tiles.entry(id).or_default();
        if tile.len() != at.start * HASH_BYTES {
            return None;
        }
        tile.extend(node.hash);
    }
    Some(tiles)
}
