-- What the employees of each department who earn more than the threshold were paid in the year.
-- Reads `trusted`, the rows that passed the rules. Names are personal and positions would tell who is meant: both stay
-- out, and departments with fewer than ten such employees are counted together.
WITH departments AS (
    SELECT
        CASE WHEN count(*) OVER (PARTITION BY Department) >= 10 THEN Department ELSE 'Smaller departments' END AS Department,
        Remuneration,
        Expenses
    FROM trusted
)

SELECT
    Department AS "Department", -- the department, or all smaller ones together
    -- How many earn more than the threshold; empty for fewer than ten.
    CASE WHEN count(*) >= 10 THEN count(*) END AS "Employees Above Threshold",
    -- Half of them were paid no more, in dollars.
    CASE WHEN count(*) >= 10 THEN CAST(median(Remuneration) AS DECIMAL(14, 2)) END AS "Median Remuneration",
    -- What they were paid on average, in dollars.
    CASE WHEN count(*) >= 10 THEN CAST(sum(Remuneration) / count(Remuneration) AS DECIMAL(14, 2)) END AS "Mean Remuneration",
    -- Half of them had no higher expenses, in dollars.
    CASE WHEN count(*) >= 10 THEN CAST(median(Expenses) AS DECIMAL(14, 2)) END AS "Median Expenses"
FROM departments
GROUP BY Department
ORDER BY "Department" NULLS LAST
