"""The Lambda function of the traffic stream, under the name its template gives it."""

from city_platform.functions.traffic import handler as lambda_handler

__all__ = ["lambda_handler"]
