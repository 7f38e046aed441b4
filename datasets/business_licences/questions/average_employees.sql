-- How many people do businesses of each kind employ on average?
-- The city's largest employers have some twenty thousand people; more is a slip of the keyboard, left out and counted.
WITH issued AS (
    SELECT
        BusinessType,
        CASE WHEN NumberofEmployees BETWEEN 0 AND 20000 THEN NumberofEmployees END AS Employees,
        CASE WHEN NumberofEmployees NOT BETWEEN 0 AND 20000 THEN 1 ELSE 0 END AS Implausible
    FROM trusted
    WHERE Status = 'Issued' AND BusinessType IS NOT NULL
),

ranked AS (
    SELECT
        BusinessType,
        Employees,
        Implausible,
        row_number() OVER (PARTITION BY BusinessType ORDER BY Employees NULLS LAST) AS Place,
        count(Employees) OVER (PARTITION BY BusinessType) AS Known
    FROM issued
),

kinds AS (
    SELECT
        BusinessType,
        count(*) AS Licences,
        count(Employees) AS Known,
        sum(Employees) AS Employees,
        avg(CASE WHEN 2 * Place BETWEEN Known AND Known + 2 THEN Employees END) AS MedianEmployees,
        sum(Implausible) AS Implausible
    FROM ranked
    GROUP BY BusinessType
)

-- Kinds with fewer than five businesses would tell how large one of them is.
SELECT
    BusinessType AS "Business Type",
    CAST(CAST(Employees AS DECIMAL(18, 2)) / Known AS DECIMAL(12, 2)) AS "Average Employees",
    CAST(MedianEmployees AS DECIMAL(12, 1)) AS "Median Employees",
    Licences AS "Issued Licences",
    Known AS "With Employees",
    CAST(100.0 * (Licences - Known) / Licences AS DECIMAL(5, 2)) AS "Without Employees Percent",
    Implausible AS "Implausible"
FROM kinds
WHERE Known >= 5
ORDER BY "Average Employees" DESC, "Business Type"
