//! Assembly of Ottla's layers into a Kafka broker and controller.
