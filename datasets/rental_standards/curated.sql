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
    LocalArea AS "Local Area", -- the area, or all areas with fewer than three such buildings together
    count(*) AS "Buildings", -- how many rental buildings with unresolved issues
    sum(TotalOutstanding) AS "Outstanding Issues", -- how many issues they have
    sum(TotalUnits) AS "Dwellings", -- how many dwellings they hold
    CAST(median(TotalOutstanding) AS DECIMAL(8, 1)) AS "Median Issues A Building", -- half of the buildings have no more
    CAST(
        100.0 * sum(TotalOutstanding) FILTER (WHERE TotalUnits IS NOT NULL) / sum(TotalUnits) AS DECIMAL(10, 1)
    ) AS "Issues A Hundred Dwellings" -- issues for each hundred dwellings
FROM areas
GROUP BY LocalArea
ORDER BY "Local Area" NULLS LAST
