//! The service's own settings.

baton_runtime::config! {
    /// The task service's own settings.
    pub struct TaskConfig {
        /// Largest file that can be attached to a task, in bytes.
        pub attachments_max_bytes: u32 = "BATON_TASK_ATTACHMENTS_MAX_BYTES", default "26214400";
        /// Media types of files that can be attached (`image/png`), separated by commas; when empty, images, audio,
        /// video, PDF, office documents, text and archives. Others than those are served as `application/octet-stream`.
        pub attachments_content_types: Vec<String> = "BATON_TASK_ATTACHMENTS_CONTENT_TYPES", default "";
    }
}
