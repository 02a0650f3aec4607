//! The service's own settings.

use std::num::NonZeroU32;

baton_runtime::config! {
    /// The task service's own settings.
    pub struct TaskConfig {
        /// Largest file that can be attached to a task, in bytes.
        pub attachments_max_bytes: u32 = "BATON_TASK_ATTACHMENTS_MAX_BYTES", default "26214400";
        /// Media types of files that can be attached (`image/png`), separated by commas; when empty, images, audio,
        /// video, PDF, office documents, text and archives. Others than those are served as `application/octet-stream`.
        pub attachments_content_types: Vec<String> = "BATON_TASK_ATTACHMENTS_CONTENT_TYPES", default "";
        /// How often those who watch a board are told that the watch goes on, and it is asked whether it may, in
        /// seconds: less than what proxies on the way let a stream be silent.
        pub watch_keepalive_seconds: NonZeroU32 = "BATON_TASK_WATCH_KEEPALIVE_SECONDS", default "30";
    }
}
