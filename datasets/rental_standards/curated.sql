-- How many rental buildings of each local area have unresolved by-law issues, and how many issues and dwellings.
-- Reads `trusted`, the rows that passed the rules. Operators are personal, and addresses stay out; areas with fewer
-- than three such buildings are counted together.
WITH areas AS (
    SELECT
        CASE WHEN count(*) OVER (PARTITION BY LocalArea) >= 3 THEN LocalArea ELSE 'Other areas' END AS LocalArea,
        TotalOutstanding,
        TotalUnits
    FROM trusted
)

SELECT
    LocalArea AS "Local Area",
    count(*) AS "Buildings",
    sum(TotalOutstanding) AS "Outstanding Issues",
    sum(TotalUnits) AS "Dwellings",
    CAST(median(TotalOutstanding) AS DECIMAL(8, 1)) AS "Median Issues A Building",
    CAST(
        100.0 * sum(TotalOutstanding) FILTER (WHERE TotalUnits IS NOT NULL) / sum(TotalUnits) AS DECIMAL(10, 1)
    ) AS "Issues A Hundred Dwellings"
FROM areas
GROUP BY LocalArea
ORDER BY "Local Area" NULLS LAST
