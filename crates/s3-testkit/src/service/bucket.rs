//! Requests about a bucket itself.

use s3s::dto::*;
use s3s::{S3Response, S3Result};

use super::Service;
use crate::objects::Bucket;

impl Service {
    pub(super) fn make_bucket(
        &self,
        input: CreateBucketInput,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        drop(self.0.objects.in_bucket(&input.bucket)); // made where there is none
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    pub(super) fn find_bucket(
        &self,
        input: &HeadBucketInput,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.with_bucket(&input.bucket, |_, _| Ok(()))?;
        let bucket_region = Some(self.0.options.region.clone());
        Ok(S3Response::new(HeadBucketOutput { bucket_region, ..Default::default() }))
    }

    pub(super) fn all_buckets(&self) -> S3Result<S3Response<ListBucketsOutput>> {
        let named = |(name, _): (&String, &Bucket)| s3s::dto::Bucket {
            name: Some(name.clone()),
            ..Default::default()
        };
        let buckets = Some(self.0.objects.buckets().iter().map(named).collect());
        Ok(S3Response::new(ListBucketsOutput { buckets, ..Default::default() }))
    }

    /// `us-east-1` is told by an empty element, for reasons as old as S3.
    pub(super) fn bucket_location(
        &self,
        input: &GetBucketLocationInput,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.with_bucket(&input.bucket, |_, _| Ok(()))?;
        let region = self.0.options.region.clone();
        let told = if region == "us-east-1" { String::new() } else { region };
        let location_constraint = Some(BucketLocationConstraint::from(told));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    /// Buckets without versions here never had any, and say nothing.
    pub(super) fn bucket_versioning(
        &self,
        input: &GetBucketVersioningInput,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let is_versioned = self.with_bucket(&input.bucket, |bucket, _| Ok(bucket.is_versioned))?;
        let enabled = || BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED);
        let status = is_versioned.then(enabled);
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
    }

    /// One configuration where objects may sink into archive tiers, else none.
    pub(super) fn tierings(
        &self,
        input: &ListBucketIntelligentTieringConfigurationsInput,
    ) -> S3Result<S3Response<ListBucketIntelligentTieringConfigurationsOutput>> {
        let sinks = self.with_bucket(&input.bucket, |bucket, _| Ok(bucket.has_archive_tiers))?;
        let tier = IntelligentTieringAccessTier::from_static("ARCHIVE_ACCESS");
        let configuration = || IntelligentTieringConfiguration {
            filter: None,
            id: "archive".into(),
            status: IntelligentTieringStatus::from_static("Enabled"),
            tierings: vec![Tiering { access_tier: tier, days: 90 }],
        };
        Ok(S3Response::new(ListBucketIntelligentTieringConfigurationsOutput {
            intelligent_tiering_configuration_list: sinks.then(|| vec![configuration()]),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }
}
